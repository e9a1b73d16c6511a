"""The feedback routes in this process: submit, review, privacy, access, and every refusal."""

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.from_thread import BlockingPortal

from earful.service.core.settings import Settings
from earful.service.server.app import create_app
from tests.fixtures.synthetic_audio import PITCHES_HZ, tone, wav
from tests.service.conftest import Client

GOOD = wav(tone("mid"))
FEEDBACK_ROUTE = "/v1/feedback"
# (folder of a service, client of it)
StartedService = tuple[Path, Client]


@pytest.fixture(scope="module")
def saving_service(
    model: Path, open_client: Callable[..., Client], tmp_path_factory: pytest.TempPathFactory
) -> StartedService:
    """A service that saves the recordings sent with feedback."""
    folder = tmp_path_factory.mktemp("saving")
    return folder, open_client(**options(model, folder, save_recordings="feedback"))


def options(model: Path, folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "model": model,
        "feedback_url": f"sqlite:///{folder}/feedback.db",
        "recordings_dir": folder / "audio",
        "max_upload_bytes": 100_000,
    } | more


def classify(client: Client, content: bytes = GOOD) -> dict[str, Any]:
    result: dict[str, Any] = client.post("/v1/classify", content=content).json()["results"][0]
    return result


def post_feedback(
    client: Client, headers: dict[str, str] | None = None, **given: Any
) -> httpx.Response:
    return client.post(FEEDBACK_ROUTE, json=given, headers=headers or {})


def status_and_code(answer: httpx.Response) -> tuple[int, str]:
    assert set(answer.json()) == {"error"}
    return answer.status_code, answer.json()["error"]["code"]


def test_prediction_id_is_stable_and_absent_for_bad_files(saving_service: StartedService) -> None:
    _, client = saving_service
    files = [("file", ("a.wav", blob)) for blob in (GOOD, b"nonsense", wav(tone("low")), GOOD)]
    results = client.post("/v1/classify", files=files).json()["results"]
    first, bad, other, again = (result.get("prediction_id") for result in results)
    assert first == again == classify(client)["prediction_id"]
    assert bad is None
    assert other not in (None, first)


def test_labels_by_prediction_and_by_upload_refer_to_one_recording(
    saving_service: StartedService,
) -> None:
    folder, client = saving_service
    sound = wav(tone("mid", 0.31))
    result = classify(client, sound)
    by_id = post_feedback(
        client, prediction_id=result["prediction_id"], label="low", annotator="anna"
    )
    assert by_id.status_code == 201
    assert (by_id.json()["recording_saved"], by_id.json()["duplicate"]) == (False, False)
    form = {"label": "low", "annotator": "bob", "speaker": "theo", "comment": "Größe\nsaid twice"}
    by_file = client.post(FEEDBACK_ROUTE, data=form, files={"file": ("x", sound)})
    assert by_file.status_code == 201
    assert by_file.json()["recording_saved"]
    assert by_file.json()["sha256"] == by_id.json()["sha256"]
    kept = list((folder / "audio").glob(f"*/{by_id.json()['sha256']}.wav"))
    assert [path.read_bytes() for path in kept] == [sound]
    again = post_feedback(
        client, prediction_id=result["prediction_id"], label="low", annotator="anna"
    )
    assert (again.status_code, again.json()["id"]) == (200, by_id.json()["id"])
    assert again.json()["duplicate"]


def test_idempotency_key_deduplicates_and_cannot_be_reused(
    saving_service: StartedService,
) -> None:
    _, client = saving_service
    about = {"prediction_id": classify(client)["prediction_id"], "annotator": "keyed"}
    ids = [
        post_feedback(client, {"idempotency-key": "k"}, **about, label=label).json().get("id")
        for label in ("low", "low")
    ]
    assert ids[0] == ids[1]
    other = post_feedback(client, {"idempotency-key": "k"}, **about, label="high")
    assert status_and_code(other) == (409, "idempotency_key_reused")


VALID_FEEDBACK = {"label": "low", "annotator": "anna"}
INVALID_JSON: dict[str, tuple[dict[str, Any], int, str]] = {
    "another label": ({"label": "hgih"}, 422, "unknown_label"),
    "neither prediction nor file": ({"prediction_id": None}, 400, "malformed_request"),
    "no annotator": ({"annotator": "  "}, 400, "malformed_request"),
    "an empty label": ({"label": ""}, 400, "malformed_request"),
    "a label with a control character": (
        {"label": "a\x00b", "new_label": True},
        400,
        "malformed_request",
    ),
    "a long label": ({"label": "a" * 201, "new_label": True}, 400, "malformed_request"),
    "a long comment": ({"comment": "a" * 2001}, 400, "malformed_request"),
    "an unknown field": ({"lable": "low"}, 400, "malformed_request"),
    "a number for a label": ({"label": 7}, 400, "malformed_request"),
}
for hostile, status in (
    ("unknown", 422),
    ("_unknown_", 422),
    (" Unknown ", 422),
    ("low|mid", 422),
    ("a" * 10_000, 400),
    ("low\u202e", 400),
    ("\u200b", 400),
    ("\u3000 ", 400),
    ("lo\x1b[31mw", 400),
    ("lo\nw", 400),
):
    INVALID_JSON[f"the label {hostile[:12]!r}"] = (
        {"label": hostile, "new_label": True},
        status,
        "unknown_label" if status == 422 else "malformed_request",
    )
for annotator in ("an\x1b]0;na", "an\u202ena", "\u200b", "a" * 201):
    INVALID_JSON[f"the annotator {annotator[:12]!r}"] = (
        {"annotator": annotator},
        400,
        "malformed_request",
    )
LONE_SURROGATE = rb'{"label": "\ud800", "annotator": "a"}'
ONE_FILE = {"file": ("a", GOOD)}
INVALID_FEEDBACK: dict[str, tuple[dict[str, Any], int, str]] = {
    name: ({"json": VALID_FEEDBACK | changes}, status, code)
    for name, (changes, status, code) in INVALID_JSON.items()
} | {
    "no label": ({"json": {"annotator": "anna"}}, 400, "malformed_request"),
    "half a character": ({"content": LONE_SURROGATE}, 400, "malformed_request"),
    "two labels": (
        {"content": b'{"label": "low", "label": "mid", "annotator": "a"}'},
        400,
        "malformed_request",
    ),
    "a deep nest": ({"content": b"[" * 9000}, 400, "malformed_request"),
    "no JSON": ({"content": b"{"}, 400, "malformed_request"),
    "too much JSON": ({"content": b" " * 20_000}, 413, "too_large"),
    "JSON that says it is text": (
        {
            "content": json.dumps(VALID_FEEDBACK).encode(),
            "headers": {"content-type": "text/plain"},
        },
        400,
        "malformed_request",
    ),
    "two files": (
        {"data": VALID_FEEDBACK, "files": [("file", ("a", GOOD))] * 2},
        413,
        "too_many_files",
    ),
    "bad audio": (
        {"data": VALID_FEEDBACK, "files": {"file": ("a", b"nonsense")}},
        415,
        "unsupported_format",
    ),
    "no audio": ({"data": VALID_FEEDBACK, "files": {"file": ("a", b"")}}, 422, "empty_audio"),
    "many fields": (
        {"data": {f"f{n}": "x" for n in range(30)}, "files": ONE_FILE},
        400,
        "malformed_request",
    ),
    "a long field": (
        {"data": VALID_FEEDBACK | {"comment": "x" * 17_000}, "files": ONE_FILE},
        413,
        "too_large",
    ),
    "a field that is not UTF-8": (
        {"data": VALID_FEEDBACK | {"comment": b"\xff"}, "files": ONE_FILE},
        400,
        "malformed_request",
    ),
    "a page of another site": (
        {"json": VALID_FEEDBACK, "headers": {"sec-fetch-site": "cross-site"}},
        403,
        "bad_origin",
    ),
}


@pytest.mark.parametrize("name", INVALID_FEEDBACK)
def test_invalid_feedback_is_refused_with_its_code(
    saving_service: StartedService, name: str
) -> None:
    folder, client = saving_service
    request, status, code = INVALID_FEEDBACK[name]
    if "content" in request:
        request = {"headers": {"content-type": "application/json"}} | request
    before = count_rows(folder)
    assert status_and_code(client.post(FEEDBACK_ROUTE, **request)) == (status, code)
    assert count_rows(folder) == before


def count_rows(folder: Path) -> int:
    connection = sqlite3.connect(folder / "feedback.db")
    count: int = connection.execute("SELECT count(*) FROM earful_annotations").fetchone()[0]
    connection.close()
    return count


def test_forged_or_mismatched_prediction_ids_are_refused(saving_service: StartedService) -> None:
    _, client = saving_service
    good = classify(client)["prediction_id"]
    flipped = ("B" if good[30] == "A" else "A").join((good[:30], good[31:]))
    for forged in ("", "x", good[:-4], good + "A", flipped, "é" * 40, "A" * 120, good + "!"):
        answer = post_feedback(client, prediction_id=forged, label="low", annotator="anna")
        assert status_and_code(answer) == (404, "unknown_prediction"), forged
    other = client.post(
        FEEDBACK_ROUTE,
        data=VALID_FEEDBACK | {"prediction_id": good},
        files={"file": ("a", wav(tone("low")))},
    )
    assert status_and_code(other) == (422, "recording_mismatch")


def test_unknown_label_is_refused_unless_declared_new(
    saving_service: StartedService,
) -> None:
    _, client = saving_service
    given = {
        "prediction_id": classify(client)["prediction_id"],
        "label": "hum",
        "annotator": "newcomer",
    }
    message = post_feedback(client, **given).json()["error"]["message"]
    assert all(label in message for label in PITCHES_HZ)
    assert post_feedback(client, **given, new_label=True).status_code == 201


def test_review_lists_saved_recordings_and_serves_their_audio(
    saving_service: StartedService,
) -> None:
    _, client = saving_service
    sound = wav(tone("high", 0.33))
    stored = client.post(
        FEEDBACK_ROUTE, data={"label": "low", "annotator": "reviewed"}, files={"file": ("x", sound)}
    ).json()
    page = client.get("/v1/review?annotator=reviewer&limit=100").json()
    [clip] = [clip for clip in page["clips"] if clip["sha256"] == stored["sha256"]]
    assert (clip["reason"], clip["prediction"]["label"]) == ("disputed", "high")
    assert clip["label_counts"] == {"low": 1}
    assert page["labels"][:3] == classifier_labels(client)
    answer = client.get(clip["audio"])
    assert answer.content == sound
    assert answer.headers["content-type"] == "audio/wav"
    assert answer.headers["x-content-type-options"] == "nosniff"
    part = client.request("GET", clip["audio"], headers={"range": "bytes=4-7"})
    assert (part.status_code, part.content) == (206, sound[4:8])
    about = {"prediction_id": clip["prediction_id"], "annotator": "reviewer"}
    assert post_feedback(client, **about, label="high").status_code == 201
    after = client.get("/v1/review?annotator=reviewer&limit=100").json()
    assert stored["sha256"] not in {clip["sha256"] for clip in after["clips"]}
    assert (after["remaining"], after["labelled"]) == (page["remaining"] - 1, page["labelled"] + 1)
    post_feedback(client, **about, label=None)
    again = client.get("/v1/review?annotator=reviewer&limit=100").json()
    assert again["remaining"] == page["remaining"]


def classifier_labels(client: Client) -> list[str]:
    served = client.app.service.model_reloader.current
    assert served is not None
    return list(served.classifier.labels)


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v1/review", 400, "malformed_request"),
        ("/v1/review?annotator=", 400, "malformed_request"),
        ("/v1/review?annotator=%00", 400, "malformed_request"),
        ("/v1/review?annotator=a&limit=0", 400, "malformed_request"),
        ("/v1/review?annotator=a&limit=x", 400, "malformed_request"),
        *(
            (f"/v1/review?annotator=a&cursor={cursor}", 400, "malformed_request")
            for cursor in (
                "x",
                "{}",
                "[" * 200,
                f'[true,0.5,"{"0" * 64}"]',
                f'[1.0,0.5,"{"0" * 64}"]',
                f'[0,"0.5","{"0" * 64}"]',
                f'[0,NaN,"{"0" * 64}"]',
                f'[9,0.5,"{"0" * 64}"]',
            )
        ),
        ("/v1/review/audio/" + "0" * 64, 404, "recording_not_found"),
        ("/v1/review/audio/" + "A" * 64, 400, "malformed_request"),
        ("/v1/review/audio/..%2f..%2ffeedback.db", 404, "no_such_route"),
        ("/v1/feedback/subjects/%00", 400, "malformed_request"),
    ],
)
def test_bad_queries_are_client_errors(
    saving_service: StartedService, path: str, status: int, code: str
) -> None:
    assert status_and_code(saving_service[1].get(path)) == (status, code)


def test_subject_data_can_be_exported_and_erased(saving_service: StartedService) -> None:
    folder, client = saving_service
    sound = wav(tone("low", 0.37))
    form = {"label": "mid", "annotator": "x", "speaker": "ünï/köd e"}
    sha256 = client.post(FEEDBACK_ROUTE, data=form, files={"file": ("x", sound)}).json()["sha256"]
    url = "/v1/feedback/subjects/ünï/köd e"
    exported = client.get(url).json()
    assert [(row["label"], row["sha256"]) for row in exported["annotations"]] == [("mid", sha256)]
    assert client.get(exported["recordings"][0]["audio"]).content == sound
    erased = client.request("DELETE", url)
    assert erased.json() == {"annotations": 1, "recordings": 1, "bytes": len(sound)}
    assert client.get(url).json()["annotations"] == []
    assert not list((folder / "audio").glob(f"*/{sha256}.*"))


def test_each_route_requires_the_key_of_its_scope(
    model: Path, tmp_path: Path, portal: BlockingPortal
) -> None:
    keys = {scope: scope[0] * 20 for scope in ("classify", "feedback", "admin")}
    entries = ",".join(f"{scope}:{key}" for scope, key in keys.items())
    app = create_app(Settings(**options(model, tmp_path, api_keys=entries)))
    routes = [
        ("POST", FEEDBACK_ROUTE, "feedback"),
        ("GET", "/v1/review?annotator=a", "feedback"),
        ("GET", "/v1/review/audio/" + "0" * 64, "feedback"),
        ("GET", "/v1/feedback/subjects/a", "admin"),
        ("DELETE", "/v1/feedback/subjects/a", "admin"),
    ]
    with portal.wrap_async_context_manager(app.service.open()):
        client = Client(app, portal)
        for method, path, scope in routes:
            assert status_and_code(client.request(method, path)) == (401, "unauthorized")
            for other, key in keys.items():
                answer = client.request(method, path, headers={"x-api-key": key})
                assert (answer.status_code == 403) == (other != scope), (method, path, other)
        assert client.get("/v1/feedback/status").json()["feedback"]


def test_a_flood_of_labels_by_one_sender_is_bounded(
    model: Path, open_client: Callable[..., Client], tmp_path: Path
) -> None:
    client = open_client(**options(model, tmp_path, max_labels_per_hour=3))
    about = {"prediction_id": classify(client)["prediction_id"], "label": "low"}
    for n in range(3):
        assert post_feedback(client, **about, annotator=f"name{n}").status_code == 201
    refused = post_feedback(client, **about, annotator="name3")
    assert status_and_code(refused) == (429, "too_many_labels")
    assert 0 < int(refused.headers["retry-after"]) <= 3600
    assert "EARFUL_MAX_LABELS_PER_HOUR" in refused.json()["error"]["message"]
    assert count_rows(tmp_path) == 3
    assert post_feedback(client, **about, annotator="name1").status_code == 200, "a repetition"


def test_senders_are_told_apart_by_key_or_network(
    model: Path, portal: BlockingPortal, tmp_path: Path
) -> None:
    app = create_app(Settings(**options(model, tmp_path)))
    with portal.wrap_async_context_manager(app.service.open()):
        about: dict[str, Any] = {}
        for n, address in enumerate(
            ("10.0.0.1", "::ffff:10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2:0:0:1")
        ):
            client = Client(app, portal, address=address)
            about = about or {"prediction_id": classify(client)["prediction_id"], "label": "low"}
            assert post_feedback(client, **about, annotator=f"name{n}").status_code == 201
    connection = sqlite3.connect(tmp_path / "feedback.db")
    rows = connection.execute("SELECT sender FROM earful_annotations ORDER BY id")
    senders = [sender for (sender,) in rows]
    connection.close()
    assert senders[0] == senders[1]
    assert senders[3] == senders[4], "one network of IPv6"
    assert len(set(senders)) == 3


def test_openapi_documents_the_feedback_routes(client: Client) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    body = paths[FEEDBACK_ROUTE]["post"]["requestBody"]["content"]
    assert set(body) == {"application/json", "multipart/form-data"}
    assert "annotator" in body["multipart/form-data"]["schema"]["properties"]
    assert {"201", "404", "409", "422", "503"} <= set(paths[FEEDBACK_ROUTE]["post"]["responses"])
    assert set(paths["/v1/feedback/subjects/{key}"]) == {"get", "delete"}
