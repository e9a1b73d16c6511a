"""The service without feedback, with each policy for recordings, and with a failing database."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from anyio.from_thread import BlockingPortal

from earful.service.core.settings import Settings
from earful.service.feedback.errors import FeedbackError
from earful.service.server.app import create_app
from tests.fixtures.synthetic_audio import noise, tone, wav
from tests.service.conftest import Client
from tests.service.http.test_feedback_routes import (
    VALID_FEEDBACK,
    classify,
    options,
    post_feedback,
    status_and_code,
)


def test_without_feedback_there_are_no_prediction_ids_and_routes_say_so(client: Client) -> None:
    assert "prediction_id" not in classify(client)
    assert client.get("/v1/feedback/status").json() == {"feedback": False, "save_recordings": "off"}
    assert status_and_code(post_feedback(client, **VALID_FEEDBACK)) == (404, "feedback_off")
    assert status_and_code(client.get("/v1/review?annotator=a")) == (404, "feedback_off")
    deleted = client.request("DELETE", "/v1/feedback/subjects/a")
    assert status_and_code(deleted) == (404, "feedback_off")


@pytest.mark.parametrize(("policy", "kept"), [("uncertain", 1), ("all", 2), ("off", 0)])
def test_recordings_are_saved_according_to_the_policy(
    rejecting_model: Path, tmp_path: Path, portal: BlockingPortal, policy: str, kept: int
) -> None:
    app = create_app(Settings(**options(rejecting_model, tmp_path, save_recordings=policy)))
    hiss = wav(noise(1.0, 0.1))
    with portal.wrap_async_context_manager(app.service.open()):
        client = Client(app, portal)
        certain, uncertain = classify(client, CONFIDENT_WAV), classify(client, hiss)
    if policy == "uncertain":
        assert certain["score"] > 0.9999 > uncertain["score"]
    files = [path.read_bytes() for path in (tmp_path / "audio").glob("??/*.wav")]
    assert len(files) == kept
    assert policy == "off" or hiss in files


CONFIDENT_WAV = wav(tone("high", 0.5))


def test_unusable_database_stops_the_start_only_when_set_explicitly(
    model: Path, tmp_path: Path, portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "artifacts").write_bytes(b"a file instead of a folder")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EARFUL_FEEDBACK_URL", raising=False)
    app = create_app(Settings(model=model))
    with portal.wrap_async_context_manager(app.service.open()):
        assert Client(app, portal).get("/v1/feedback/status").json()["feedback"] is False
    for explicit in ({"feedback_url": "sqlite:///artifacts/f.db"}, {"save_recordings": "all"}):
        service = create_app(Settings(model=model, **explicit)).service
        with (
            pytest.raises(FeedbackError, match="cannot write"),
            portal.wrap_async_context_manager(service.open()),
        ):
            pass
    with pytest.raises(ValueError, match="nothing could be saved"):
        Settings(model=model, feedback_url="off", save_recordings="all")


@pytest.mark.slow
def test_locked_database_gives_503_while_classification_continues(
    model: Path, tmp_path: Path, portal: BlockingPortal
) -> None:
    app = create_app(Settings(**options(model, tmp_path, deadline_seconds=0.7)))
    with portal.wrap_async_context_manager(app.service.open()):
        client = Client(app, portal)
        result = classify(client)
        about = {"prediction_id": result["prediction_id"]}
        assert post_feedback(client, **about, **VALID_FEEDBACK).status_code == 201
        other = sqlite3.connect(tmp_path / "feedback.db")
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(8) as pool:
            waiting = [
                pool.submit(post_feedback, client, **about, label="mid", annotator=annotator)
                for annotator in "abcdefgh"
            ]
            assert classify(client)["prediction_id"] == result["prediction_id"]
            answers = [future.result() for future in waiting]
        assert {status_and_code(answer) for answer in answers} == {(503, "feedback_unavailable")}
        assert {answer.headers["retry-after"] for answer in answers} == {"1"}
        other.rollback()
        other.close()
        again = post_feedback(client, **about, label="mid", annotator="a")
        assert again.status_code in (200, 201)
