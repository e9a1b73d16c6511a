"""Label Studio's routes: its requests and responses, and that audio comes from nowhere else."""

import json
import logging
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from earful.service.label_studio.label_config import parse_label_config
from tests.fixtures.synthetic_audio import PITCHES_HZ, noise, overlay_at, tone, wav
from tests.service.conftest import Client

CHOICES = "".join(f'<Choice value="{label}"/>' for label in PITCHES_HZ)
REGIONS = "".join(f'<Label value="{label}"/>' for label in PITCHES_HZ)
AUDIO = '<Audio name="sound" value="$clip"/>'
CONFIG = f'<View>{AUDIO}<Choices name="word" toName="sound">{CHOICES}</Choices></View>'
EVENTS = f'<View>{AUDIO}<Labels name="call" toName="sound">{REGIONS}</Labels></View>'
TOKEN = "t" * 40


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that Label Studio serves; it holds a link that points outside."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "root" / "upload" / "3").mkdir(parents=True)
    for label in PITCHES_HZ:
        (folder / "root" / f"{label}.wav").write_bytes(wav(tone(label)))
    (folder / "root" / "upload" / "3" / "0123abcd-low.wav").write_bytes(wav(tone("low")))
    calls = overlay_at(tone("low"), 0.3, overlay_at(tone("high"), 3.3, noise(4.5, 0.0005)))
    (folder / "root" / "day.wav").write_bytes(wav(calls))
    (folder / "root" / "broken.wav").write_bytes(b"RIFF")
    (folder / "secret.wav").write_bytes(wav(tone("mid")))
    (folder / "root" / "link.wav").symlink_to(folder / "secret.wav")
    return folder / "root"


class LabelStudio(BaseHTTPRequestHandler):
    """A server that requires the token; paths with "redirect" are redirected."""

    foreign_url = ""

    def do_GET(self) -> None:
        path = self.path
        if self.headers.get("Authorization") != f"Token {TOKEN}":
            self._respond(401)
        elif "/redirect" in path:
            location = (
                "/ls/data/upload/3/mid.wav" if "near" in path else f"{self.foreign_url}/stolen.wav"
            )
            self._respond(302, location=location)
        elif path == "/ls/data/upload/3/mid%20%C3%BC.wav" or path.endswith("/mid.wav"):
            self._respond(200, wav(tone("mid")))
        elif path.endswith("/huge.wav"):
            self._respond(200, bytes(300_000))
        else:
            self._respond(404)

    def _respond(self, status: int, body: bytes = b"", location: str = "") -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if location:
            self.send_header("Location", location)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Log nothing."""


class ForeignServer(BaseHTTPRequestHandler):
    """Another server, which must get no request."""

    requested_paths: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        self.requested_paths.append(self.path)
        self.send_response(200)
        self.end_headers()


@pytest.fixture(scope="module")
def host() -> Iterator[str]:
    with (
        ThreadingHTTPServer(("127.0.0.1", 0), LabelStudio) as server,
        ThreadingHTTPServer(("127.0.0.1", 0), ForeignServer) as other,
    ):
        LabelStudio.foreign_url = f"http://127.0.0.1:{other.server_port}"
        for each in (server, other):
            threading.Thread(target=each.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        other.shutdown()


@pytest.fixture(scope="module")
def backend(model: Path, root: Path, host: str, open_client: Callable[..., Client]) -> Client:
    return open_client(
        model=model,
        label_studio_root=root,
        label_studio_url=f"{host}/ls",
        label_studio_token=TOKEN,
        max_upload_bytes=200_000,
    )


def predict(client: Client, *clips: object, config: str = CONFIG) -> list[dict[str, Any]]:
    tasks = [{"id": n, "data": {"clip": clip}} for n, clip in enumerate(clips)]
    body = {"tasks": tasks, "project": "1.2", "label_config": config, "params": {"context": None}}
    response = client.post("/predict", json=body)
    assert response.status_code == 200, response.text
    results: list[dict[str, Any]] = response.json()["results"]
    assert len(results) == len(clips)
    return results


def label_or_error_code(result: dict[str, Any]) -> Any:
    """The label of a result, or the code of its error."""
    if "error" in result:
        assert (result["result"], result["score"]) == ([], 0)
        return result["error"]["code"]
    return result["result"][0]["value"]["choices"][0]


def test_each_task_gets_one_choice_with_the_configured_names(backend: Client) -> None:
    clips = [f"{label}.wav" for label in PITCHES_HZ] * 7
    results = predict(backend, *clips)
    assert [label_or_error_code(result) for result in results] == list(PITCHES_HZ) * 7
    [choice] = results[0]["result"]
    assert (choice["from_name"], choice["to_name"], choice["type"]) == ("word", "sound", "choices")
    assert 0.5 < choice["score"] == results[0]["score"] <= 1
    assert len({result["result"][0]["id"] for result in results}) == len(clips)
    version = backend.get("/readyz").json()["model"]["version"]
    assert results[0]["model_version"] == f"tones-{version}"


def test_long_recording_gets_regions(backend: Client) -> None:
    [prediction] = predict(backend, "day.wav", config=EVENTS)
    regions = [result["value"] for result in prediction["result"]]
    for label, start in (("low", 0.3), ("high", 3.3)):
        assert any(
            r["labels"] == [label] and r["start"] <= start and start + 0.4 <= r["end"] + 0.26
            for r in regions
        )
    assert all(0 <= r["start"] < r["end"] <= 4.5 for r in regions)
    assert {r["original_length"] for r in prediction["result"]} == {4.5}
    both = f"<View>{AUDIO}{EVENTS[len('<View>' + AUDIO) : -7]}{CONFIG[len('<View>' + AUDIO) :]}"
    [mixed] = predict(backend, "low.wav", config=both)
    assert {result["type"] for result in mixed["result"]} == {"labels", "choices"}


@pytest.mark.parametrize(
    ("clip", "expected"),
    [
        ("/data/local-files/?d=high.wav", "high"),
        ("http://other/data/upload/3/0123abcd-low.wav", "low"),
        ("/data/upload/3/mid ü.wav", "mid"),
        ("/ls/data/upload/3/mid ü.wav", "mid"),
        ("/data/upload/3/redirect-near.wav", "mid"),
        ("{host}/anything/mid.wav", "mid"),
        ("../secret.wav", "not_found"),
        ("link.wav", "not_found"),
        ("/data/local-files/?d=/etc/passwd", "unreachable"),
        ("file:///etc/passwd", "not_found"),
        ("http://127.0.0.1:1/mid.wav", "not_found"),
        ("http://[", "not_found"),
        ("mid\r\nX-Header: 1.wav", "not_found"),
        ("{host}/\u2028/mid.wav", "not_found"),
        ("/data/upload/3/redirect.wav", "unreachable"),
        ("/data/upload/3/none.wav", "unreachable"),
        ("/data/upload/3/huge.wav", "too_large"),
        ("broken.wav", "unsupported_format"),
        (None, "not_found"),
        (7, "not_found"),
        ({"a": []}, "not_found"),
    ],
)
def test_audio_is_read_only_from_the_folder_or_the_label_studio_server(
    backend: Client, host: str, clip: object, expected: str
) -> None:
    clip = clip.replace("{host}", host) if isinstance(clip, str) else clip
    bad, good = predict(backend, clip, "high.wav")
    assert (label_or_error_code(bad), label_or_error_code(good)) == (expected, "high")
    assert ForeignServer.requested_paths == []
    assert str(host) not in json.dumps(bad)


def test_without_an_audio_source_every_task_names_the_setting(client: Client) -> None:
    [result] = predict(client, "/data/upload/3/mid.wav")
    assert "EARFUL_LABEL_STUDIO_ROOT" in result["error"]["message"]


def test_aliased_and_unoffered_labels_are_handled(backend: Client) -> None:
    choices = '<Choice value="Low pitch" alias="low"/><Choice value="high" alias="h"/>'
    config = f'<View>{AUDIO}<Choices name="w" toName="sound">{choices}</Choices></View>'
    results = predict(backend, "low.wav", "high.wav", "mid.wav", config=config)
    assert [label_or_error_code(result) for result in results] == ["low", "h", "label_not_offered"]


ENTITIES = f'<!DOCTYPE v [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]>{CONFIG.replace("low", "&b;low")}'
BAD_CONFIGS = {
    "missing": None,
    "a number": 7,
    "empty": "",
    "not XML": "<View>",
    "entities": ENTITIES,
    "mixed-case DOCTYPE": ENTITIES.replace("DOCTYPE", "dOcTyPe"),
    "an unknown entity": "<View>&x;</View>",
    "no audio": CONFIG.replace("Audio", "Image"),
    "other labels": CONFIG.replace('value="', 'value="x'),
    "long": f"<View>{' ' * (1 << 20)}</View>",
    "a region's choice": CONFIG.replace("<Choices", '<Choices perRegion="true"'),
}


@pytest.mark.parametrize("name", BAD_CONFIGS)
def test_unusable_configuration_is_a_client_error(backend: Client, name: str) -> None:
    for path, body in (
        ("/setup", {"project": "1", "schema": BAD_CONFIGS[name]}),
        ("/predict", {"tasks": [], "label_config": BAD_CONFIGS[name]}),
    ):
        response = backend.post(path, json=body)
        code = response.json()["error"]["code"]
        assert (response.status_code, code) == (400, "malformed_request")


@pytest.mark.slow
def test_deep_and_odd_configurations_are_read(backend: Client) -> None:
    deep = f"<View>{'<View>' * 50_000}{'</View>' * 50_000}{CONFIG[6:]}"
    assert parse_label_config(deep, ["low"])[0].name == "word"
    dynamic = f'<View>{AUDIO}<Choices name="w" toName="x,sound" value="$options"/></View>'
    assert parse_label_config(dynamic, ["low"])[0].value_for("anything") == "anything"


USABLE = json.dumps({"action": "A", "schema": CONFIG, "label_config": CONFIG, "tasks": []})[:-1]


@pytest.mark.parametrize("path", ["/setup", "/predict", "/webhook"])
@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"\xff",
        b"[" * 100_000,
        b'{"tasks": [1]}',
        b'{"action": []}',
        f'{USABLE}, "score": NaN}}'.encode(),
        f'{USABLE}, "project": 1, "project": 2}}'.encode(),
    ],
)
def test_malformed_bodies_are_refused(backend: Client, path: str, content: bytes) -> None:
    response = backend.post(path, content=content)
    assert (response.status_code, response.json()["error"]["code"]) == (400, "malformed_request")


def test_setup_and_health_routes_respond(backend: Client, stopped_client: Client) -> None:
    response = backend.post("/setup", json={"project": "1.2", "schema": CONFIG, "extra_params": {}})
    assert response.json()["model_version"].startswith("tones-")
    assert backend.get("/health").json() == {"status": "UP", "model_class": "Earful"}
    assert stopped_client.get("/health").status_code == 503
    tasks = [{"data": {"clip": "low.wav"}}] * 1001
    many = backend.post("/predict", json={"tasks": tasks, "label_config": CONFIG})
    assert (many.status_code, many.json()["error"]["code"]) == (413, "too_many_files")


def test_webhook_is_accepted_and_logged(backend: Client, caplog: pytest.LogCaptureFixture) -> None:
    body = {
        "action": "ANNOTATION_CREATED",
        "project": {"id": 4, "label_config": CONFIG},
        "annotation": {"id": 9, "result": [{"secret": "x"}]},
        "task": {"id": 2, "data": {}},
    }
    with caplog.at_level(logging.INFO, "earful"):
        assert backend.post("/webhook", json=body).status_code == 201
    [line] = [r for r in caplog.records if r.getMessage() == "label_studio_event"]
    log_fields: dict[str, Any] = line.__dict__["log_fields"]
    assert log_fields == {
        "action": "ANNOTATION_CREATED",
        "project": "4",
        "annotation": "9",
        "task": "2",
        "not_stored": "feedback is off",
    }


def test_an_annotation_becomes_feedback_with_its_recording(
    model: Path,
    root: Path,
    open_client: Callable[..., Client],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = open_client(
        model=model,
        label_studio_root=root,
        feedback_url=f"sqlite:///{tmp_path}/f.db",
        save_recordings="feedback",
        recordings_dir=tmp_path / "audio",
    )
    choice = {"from_name": "word", "type": "choices", "value": {"choices": ["high"]}}
    annotator = {"id": 3, "email": "a@b.c"}
    body = {
        "action": "ANNOTATION_CREATED",
        "project": {"id": 4, "label_config": CONFIG},
        "annotation": {"id": 9, "result": [choice], "completed_by": annotator},
        "task": {"id": 2, "data": {"clip": "low.wav"}},
    }
    bad = [
        {**body, "annotation": {"result": [choice, choice]}},
        {**body, "annotation": {"result": [choice], "was_cancelled": True}},
        {**body, "annotation": {"result": 5}},
        {**body, "project": 4},
        {**body, "task": {"data": {"clip": "../../etc/passwd"}}},
    ]
    with caplog.at_level(logging.INFO, "earful"):
        for message in [body, *bad]:
            assert client.post("/webhook", json=message).status_code == 201, message
    lines = [
        r.__dict__["log_fields"] for r in caplog.records if r.getMessage() == "label_studio_event"
    ]
    assert [("not_stored" in log_fields) for log_fields in lines] == [False, *[True] * len(bad)]
    rows = client.get("/v1/feedback/subjects/label-studio:a@b.c").json()
    assert [row["label"] for row in rows["annotations"]] == ["high"], rows
    assert [p.suffix for p in (tmp_path / "audio").rglob("*.wav")] == [".wav"]


def test_keys_open_the_routes_of_their_scopes(
    model: Path, root: Path, open_client: Callable[..., Client]
) -> None:
    classify, feedback = "c" * 20, "f" * 20
    keys = f"classify:{classify},feedback:{feedback}"
    client = open_client(model=model, label_studio_root=root, api_keys=keys)
    setup = {"schema": CONFIG}
    for path, body, valid_key, other_key in (
        ("/setup", setup, classify, feedback),
        ("/predict", {"tasks": [], "label_config": CONFIG}, classify, feedback),
        ("/webhook", {"action": "START_TRAINING"}, feedback, classify),
    ):
        for password, status in ((valid_key, (200, 201)), (other_key, (403,)), ("x", (401,))):
            basic = httpx.BasicAuth("label-studio", password)
            assert client.post(path, json=body, auth=basic).status_code in status
        bearer = {"Authorization": f"Bearer {valid_key}"}
        assert client.post(path, json=body, headers=bearer).status_code in (200, 201)
    for credentials in ("", "===", "bm9jb2xvbg==", "/w=="):
        headers = {"Authorization": f"Basic {credentials}"}
        assert client.post("/setup", json=setup, headers=headers).status_code == 401
