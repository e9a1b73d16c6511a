"""Feedback over HTTP, in this process: what is taken, what is refused, and who may ask what."""

import json
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal

from earful.service.core.settings import Settings
from earful.service.feedback.errors import FeedbackError
from earful.service.server.app import create_app
from tests.fixtures.sounds import PITCHES_HZ, noise, tone, wav
from tests.service.conftest import Client

GOOD = wav(tone("mid"))
GIVE = "/v1/feedback"
# The folder of a service, and requests to it.
Started = tuple[Path, Client]


@pytest.fixture(scope="module")
def keeping(
    model: Path, open_client: Callable[..., Client], tmp_path_factory: pytest.TempPathFactory
) -> Started:
    """A service that keeps the audio that comes with feedback."""
    folder = tmp_path_factory.mktemp("keeping")
    return folder, open_client(**options(model, folder, keep_audio="feedback"))


def options(model: Path, folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "model": model,
        "feedback_url": f"sqlite:///{folder}/feedback.db",
        "audio_dir": folder / "audio",
        "max_upload_bytes": 100_000,
    } | more


def classify(client: Client, content: bytes = GOOD) -> dict[str, Any]:
    result: dict[str, Any] = client.post("/v1/classify", content=content).json()["results"][0]
    return result


def give(client: Client, headers: dict[str, str] | None = None, **given: Any) -> httpx.Response:
    return client.post(GIVE, json=given, headers=headers or {})


def code_of(answer: httpx.Response) -> tuple[int, str]:
    assert set(answer.json()) == {"error"}
    return answer.status_code, answer.json()["error"]["code"]


def test_the_same_answer_has_the_same_id_and_a_bad_file_none(keeping: Started) -> None:
    _, client = keeping
    files = [("file", ("a.wav", blob)) for blob in (GOOD, b"nonsense", wav(tone("low")), GOOD)]
    results = client.post("/v1/classify", files=files).json()["results"]
    first, bad, other, again = (result.get("prediction_id") for result in results)
    assert first == again == classify(client)["prediction_id"]
    assert bad is None
    assert other not in (None, first)


def test_a_label_by_prediction_and_by_file_are_about_one_recording(keeping: Started) -> None:
    folder, client = keeping
    sound = wav(tone("mid", 0.31))
    heard = classify(client, sound)
    by_id = give(client, prediction_id=heard["prediction_id"], label="low", who="anna")
    assert by_id.status_code == 201
    assert (by_id.json()["audio_kept"], by_id.json()["repeated"]) == (False, False)
    form = {"label": "low", "who": "bob", "speaker": "theo", "comment": "Größe\nsaid twice"}
    by_file = client.post(GIVE, data=form, files={"file": ("x", sound)})
    assert by_file.status_code == 201
    assert by_file.json()["audio_kept"]
    assert by_file.json()["sha256"] == by_id.json()["sha256"]
    kept = list((folder / "audio").glob(f"*/{by_id.json()['sha256']}.wav"))
    assert [path.read_bytes() for path in kept] == [sound]
    again = give(client, prediction_id=heard["prediction_id"], label="low", who="anna")
    assert (again.status_code, again.json()["id"]) == (200, by_id.json()["id"])
    assert again.json()["repeated"]


def test_a_request_sent_again_is_stored_once_and_its_key_is_for_nothing_else(
    keeping: Started,
) -> None:
    _, client = keeping
    about = {"prediction_id": classify(client)["prediction_id"], "who": "keyed"}
    ids = [
        give(client, {"idempotency-key": "k"}, **about, label=label).json().get("id")
        for label in ("low", "low")
    ]
    assert ids[0] == ids[1]
    other = give(client, {"idempotency-key": "k"}, **about, label="high")
    assert code_of(other) == (409, "idempotency_key_reused")


GIVEN = {"label": "low", "who": "anna"}
REFUSED: dict[str, tuple[dict[str, Any], int, str]] = {
    "another label": ({"json": GIVEN | {"label": "hgih"}}, 422, "unknown_label"),
    "a label and nothing else": ({"json": GIVEN | {"prediction_id": None}}, 400,
                                 "malformed_request"),
    "nobody": ({"json": GIVEN | {"who": "  "}}, 400, "malformed_request"),
    "no label": ({"json": {"who": "anna"}}, 400, "malformed_request"),
    "an empty label": ({"json": GIVEN | {"label": ""}}, 400, "malformed_request"),
    "a label with a control character": ({"json": GIVEN | {"label": "a\x00b", "new_label": True}},
                                         400, "malformed_request"),
    "a long label": ({"json": GIVEN | {"label": "a" * 201, "new_label": True}}, 400,
                     "malformed_request"),
    "a long comment": ({"json": GIVEN | {"comment": "a" * 2001}}, 400, "malformed_request"),
    "an unknown field": ({"json": GIVEN | {"lable": "low"}}, 400, "malformed_request"),
    "a number for a label": ({"json": GIVEN | {"label": 7}}, 400, "malformed_request"),
    "half a character": ({"content": rb'{"label": "\ud800", "who": "a"}'}, 400,
                         "malformed_request"),
    "a deep nest": ({"content": b"[" * 9000}, 400, "malformed_request"),
    "no JSON": ({"content": b"{"}, 400, "malformed_request"),
    "too much JSON": ({"content": b" " * 20_000}, 413, "too_large"),
    "JSON that says it is text": ({"content": json.dumps(GIVEN).encode(),
                                   "headers": {"content-type": "text/plain"}}, 400,
                                  "malformed_request"),
    "two files": ({"data": GIVEN, "files": [("file", ("a", GOOD))] * 2}, 413, "too_many_files"),
    "bad audio": ({"data": GIVEN, "files": {"file": ("a", b"nonsense")}}, 415,
                  "unsupported_format"),
    "no audio": ({"data": GIVEN, "files": {"file": ("a", b"")}}, 422, "empty_audio"),
    "many fields": ({"data": {f"f{n}": "x" for n in range(30)},
                     "files": {"file": ("a", GOOD)}}, 400, "malformed_request"),
    "a long field": ({"data": GIVEN | {"comment": "x" * 17_000}, "files": {"file": ("a", GOOD)}},
                     413, "too_large"),
    "a field that is no UTF-8": ({"data": GIVEN | {"comment": b"\xff"},
                                  "files": {"file": ("a", GOOD)}}, 400, "malformed_request"),
    "a page from elsewhere": ({"json": GIVEN, "headers": {"sec-fetch-site": "cross-site"}}, 403,
                              "forbidden"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_taken_is_refused_by_its_code(keeping: Started, name: str) -> None:
    folder, client = keeping
    request, status, code = REFUSED[name]
    if "content" in request:
        request = {"headers": {"content-type": "application/json"}} | request
    before = rows_of(folder)
    assert code_of(client.post(GIVE, **request)) == (status, code)
    assert rows_of(folder) == before


def rows_of(folder: Path) -> int:
    connection = sqlite3.connect(folder / "feedback.db")
    found: int = connection.execute("SELECT count(*) FROM earful_feedback").fetchone()[0]
    connection.close()
    return found


def test_ids_that_were_made_up_or_are_of_another_recording_are_refused(keeping: Started) -> None:
    _, client = keeping
    good = classify(client)["prediction_id"]
    flipped = ("B" if good[30] == "A" else "A").join((good[:30], good[31:]))
    for forged in ("", "x", good[:-4], good + "A", flipped, "é" * 40, "A" * 120, good + "!"):
        answer = give(client, prediction_id=forged, label="low", who="anna")
        assert code_of(answer) == (404, "unknown_prediction"), forged
    other = client.post(
        GIVE, data=GIVEN | {"prediction_id": good}, files={"file": ("a", wav(tone("low")))}
    )
    assert code_of(other) == (422, "other_audio")


def test_an_unknown_label_is_told_with_the_models_and_taken_when_it_is_meant(
    keeping: Started,
) -> None:
    _, client = keeping
    given = {"prediction_id": classify(client)["prediction_id"], "label": "hum", "who": "newcomer"}
    message = give(client, **given).json()["error"]["message"]
    assert all(label in message for label in PITCHES_HZ)
    assert give(client, **given, new_label=True).status_code == 201


def test_review_offers_what_is_kept_and_its_sound(keeping: Started) -> None:
    _, client = keeping
    sound = wav(tone("high", 0.33))
    stored = client.post(
        GIVE, data={"label": "low", "who": "reviewed"}, files={"file": ("x", sound)}
    ).json()
    page = client.get("/v1/review?who=reviewer&limit=100").json()
    [clip] = [clip for clip in page["clips"] if clip["sha256"] == stored["sha256"]]
    assert (clip["reason"], clip["heard"]["label"]) == ("disagreeing", "high")
    assert clip["votes"] == {"low": 1}
    assert page["labels"][:3] == classifier_labels(client)
    answer = client.get(clip["audio"])
    assert answer.content == sound
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["x-content-type-options"] == "nosniff"
    part = client.request("GET", clip["audio"], headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, sound[4:8])
    about = {"prediction_id": clip["prediction_id"], "who": "reviewer"}
    assert give(client, **about, label="high").status_code == 201
    after = client.get("/v1/review?who=reviewer&limit=100").json()
    assert stored["sha256"] not in {clip["sha256"] for clip in after["clips"]}
    assert (after["waiting"], after["labelled"]) == (page["waiting"] - 1, page["labelled"] + 1)
    give(client, **about, label=None)
    again = client.get("/v1/review?who=reviewer&limit=100").json()
    assert again["waiting"] == page["waiting"]


def classifier_labels(client: Client) -> list[str]:
    served = client.app.service.host.current
    assert served is not None
    return list(served.classifier.labels)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/review", 400, "malformed_request"),
        ("/v1/review?who=", 400, "malformed_request"),
        ("/v1/review?who=%00", 400, "malformed_request"),
        ("/v1/review?who=a&limit=0", 400, "malformed_request"),
        ("/v1/review?who=a&limit=x", 400, "malformed_request"),
        ("/v1/review?who=a&after=x", 400, "malformed_request"),
        ("/v1/review/audio/" + "0" * 64, 404, "no_such_audio"),
        ("/v1/review/audio/" + "A" * 64, 400, "malformed_request"),
        ("/v1/review/audio/..%2f..%2ffeedback.db", 404, "no_such_route"),
        ("/v1/feedback/people/%00", 400, "malformed_request"),
    ],
)
def test_bad_queries_are_the_senders_error(
    keeping: Started, path: str, status: int, code: str
) -> None:
    assert code_of(keeping[1].get(path)) == (status, code)


def test_a_person_can_have_all_that_is_theirs_and_have_it_deleted(keeping: Started) -> None:
    folder, client = keeping
    sound = wav(tone("low", 0.37))
    form = {"label": "mid", "who": "x", "speaker": "ünï/köd e"}
    sha256 = client.post(GIVE, data=form, files={"file": ("x", sound)}).json()["sha256"]
    url = "/v1/feedback/people/ünï/köd e"
    found = client.get(url).json()
    assert [(row["label"], row["sha256"]) for row in found["feedback"]] == [("mid", sha256)]
    assert client.get(found["audio"][0]["audio"]).content == sound
    gone = client.request("DELETE", url)
    assert gone.json() == {"feedback": 1, "audio": 1, "bytes": len(sound)}
    assert client.get(url).json()["feedback"] == []
    assert not list((folder / "audio").glob(f"*/{sha256}.*"))


def test_each_route_asks_for_the_key_of_its_scope(
    model: Path, tmp_path: Path, portal: BlockingPortal
) -> None:
    keys = {scope: scope[0] * 20 for scope in ("classify", "feedback", "admin")}
    entries = ",".join(f"{scope}:{key}" for scope, key in keys.items())
    app = create_app(Settings(**options(model, tmp_path, api_keys=entries)))
    asked = [
        ("POST", GIVE, "feedback"),
        ("GET", "/v1/review?who=a", "feedback"),
        ("GET", "/v1/review/audio/" + "0" * 64, "feedback"),
        ("GET", "/v1/feedback/people/a", "admin"),
        ("DELETE", "/v1/feedback/people/a", "admin"),
    ]
    with portal.wrap_async_context_manager(app.service.open()):
        client = Client(app, portal)
        for method, path, scope in asked:
            assert code_of(client.request(method, path)) == (401, "unauthorized")
            for other, key in keys.items():
                answer = client.request(method, path, headers={"x-api-key": key})
                assert (answer.status_code == 403) == (other != scope), (method, path, other)
        assert client.get("/v1/feedback/status").json()["feedback"]


def test_without_feedback_nothing_is_signed_and_each_route_says_so(client: Client) -> None:
    assert "prediction_id" not in classify(client)
    assert client.get("/v1/feedback/status").json() == {"feedback": False, "keep_audio": "off"}
    assert code_of(give(client, **GIVEN)) == (404, "feedback_off")
    assert code_of(client.get("/v1/review?who=a")) == (404, "feedback_off")
    assert code_of(client.request("DELETE", "/v1/feedback/people/a")) == (404, "feedback_off")


@pytest.mark.parametrize(("policy", "kept"), [("uncertain", 1), ("all", 2), ("off", 0)])
def test_what_is_kept_behind_the_answers_is_the_operators_choice(
    shy_model: Path, tmp_path: Path, portal: BlockingPortal, policy: str, kept: int
) -> None:
    app = create_app(Settings(**options(shy_model, tmp_path, keep_audio=policy)))
    hiss = wav(noise(1.0, 0.1))
    with portal.wrap_async_context_manager(app.service.open()):
        client = Client(app, portal)
        sure, unsure = classify(client, SUREST), classify(client, hiss)
    if policy == "uncertain":
        assert sure["score"] > 0.9999 > unsure["score"]
    files = [path.read_bytes() for path in (tmp_path / "audio").glob("??/*.wav")]
    assert len(files) == kept
    assert policy == "off" or hiss in files


SUREST = wav(tone("high", 0.5))


def test_a_given_place_that_cannot_be_used_stops_the_start_and_the_default_does_not(
    model: Path, tmp_path: Path, portal: BlockingPortal, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "artifacts").write_bytes(b"in the way")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("EARFUL_FEEDBACK_URL", raising=False)
    app = create_app(Settings(model=model))
    with portal.wrap_async_context_manager(app.service.open()):
        assert Client(app, portal).get("/v1/feedback/status").json()["feedback"] is False
    for asked in ({"feedback_url": "sqlite:///artifacts/f.db"}, {"keep_audio": "all"}):
        with (
            pytest.raises(FeedbackError, match="cannot write"),
            portal.wrap_async_context_manager(
                create_app(Settings(model=model, **asked)).service.open()
            ),
        ):
            pass
    with pytest.raises(ValueError, match="nothing could be kept"):
        Settings(model=model, feedback_url="off", keep_audio="all")


def test_a_locked_database_is_a_503_and_answers_go_on(
    model: Path, tmp_path: Path, portal: BlockingPortal
) -> None:
    app = create_app(Settings(**options(model, tmp_path, deadline_seconds=0.7)))
    with portal.wrap_async_context_manager(app.service.open()):
        client = Client(app, portal)
        heard = classify(client)
        assert give(client, prediction_id=heard["prediction_id"], **GIVEN).status_code == 201
        other = sqlite3.connect(tmp_path / "feedback.db")
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(8) as pool:
            waiting = [
                pool.submit(give, client, prediction_id=heard["prediction_id"], label="mid", who=w)
                for w in "abcdefgh"
            ]
            assert classify(client)["prediction_id"] == heard["prediction_id"]
            answers = [future.result() for future in waiting]
        assert {code_of(answer) for answer in answers} == {(503, "feedback_unavailable")}
        assert {answer.headers["retry-after"] for answer in answers} == {"1"}
        other.rollback()
        other.close()
        again = give(client, prediction_id=heard["prediction_id"], label="mid", who="a")
        assert again.status_code in (200, 201)


def test_openapi_tells_of_the_routes(client: Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    body = paths[GIVE]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    assert "who" in body["multipart/form-data"]["schema"]["properties"]
    assert {"201", "404", "409", "422", "503"} <= set(paths[GIVE]["post"]["responses"])
    assert set(paths["/v1/feedback/people/{key}"]) == {"get", "delete"}
