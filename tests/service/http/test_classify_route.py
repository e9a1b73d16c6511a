"""``/v1/classify`` in this process: every kind of upload, and every error by its code."""

import gzip
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from anyio.from_thread import BlockingPortal
from fastapi.openapi.models import OpenAPI

from earful.service.core.settings import Settings
from earful.service.server.app import create_app
from tests.fixtures.synthetic_audio import (
    PITCHES_HZ,
    RATE_HZ,
    noise,
    overlay_at,
    tone,
    wav,
    wav_header,
)
from tests.service.conftest import Client

GOOD = wav(tone("mid"))
PNG = b"\x89PNG\r\n\x1a\n" + bytes(500)
URL = "/v1/classify"


def upload(*files: tuple[str, bytes]) -> dict[str, Any]:
    return {"files": [("file", file) for file in files]}


def test_one_file_in_a_form_is_classified(client: Client) -> None:
    answer = client.post(URL, **upload(("mid.wav", GOOD)))
    assert answer.status_code == 200
    assert set(answer.json()) == {"model", "results"}
    [result] = answer.json()["results"]
    assert (result["filename"], result["label"], result["seconds"]) == ("mid.wav", "mid", 0.4)
    assert result["scores"][0] == {"label": "mid", "score": result["score"]}
    assert {entry["label"] for entry in result["scores"]} == set(PITCHES_HZ)
    assert sum(entry["score"] for entry in result["scores"]) == pytest.approx(1, abs=1e-5)
    assert result["events"] == [{"start": 0, "end": 0.4, "label": "mid", "score": result["score"]}]
    assert "windows" not in result


def test_rejection_returns_unknown_and_keeps_the_scores(
    rejecting_model: Path, portal: BlockingPortal
) -> None:
    app = create_app(Settings(model=rejecting_model, reject=True))
    with portal.wrap_async_context_manager(app.service.open()):
        hiss = upload(("hiss.wav", wav(noise(1.0, 0.1))))
        [result] = Client(app, portal).post(URL + "?windows=true", **hiss).json()["results"]
    assert result["label"] == "unknown" == result["windows"][0]["label"]
    assert result["events"] == []
    assert result["scores"][0]["label"] in PITCHES_HZ
    assert result["score"] == result["scores"][0]["score"]


def test_files_are_answered_in_order_and_may_share_a_name(client: Client) -> None:
    files = [("a.wav", wav(tone(label))) for label in PITCHES_HZ]
    results = client.post(URL, **upload(*files)).json()["results"]
    assert [result["label"] for result in results] == list(PITCHES_HZ)
    assert {result["filename"] for result in results} == {"a.wav"}


@pytest.mark.parametrize(
    "content_type",
    [
        "audio/wav",
        "application/octet-stream",
        "application/x-www-form-urlencoded",
        "text/plain",
        None,
    ],
)
def test_raw_body_is_one_file_for_any_content_type(
    client: Client, content_type: str | None
) -> None:
    headers = {} if content_type is None else {"content-type": content_type}
    answer = client.post(URL, content=GOOD, headers=headers)
    assert answer.status_code == 200
    assert answer.json()["results"][0]["label"] == "mid"


def test_windows_of_a_long_recording_are_returned(client: Client) -> None:
    recording = overlay_at(tone("high"), 1.3, overlay_at(tone("low"), 0.3, noise(2.3, 0.001)))
    [result] = client.post(URL + "?windows=true", content=wav(recording)).json()["results"]
    windows = [(w["start"], w["end"]) for w in result["windows"]]
    assert windows[0] == (0, 1)
    assert windows[-1] == (1.3, 2.3)
    assert [result["windows"][i]["label"] for i in (0, 4)] == ["low", "high"]
    assert result["seconds"] == 2.3


def test_a_bad_file_does_not_affect_the_others(client: Client) -> None:
    files = [("a.wav", GOOD), ("b.wav", PNG), ("c.wav", b""), ("d.wav", wav(tone("low")))]
    answer = client.post(URL, **upload(*files))
    assert answer.status_code == 200
    first, png, empty, last = answer.json()["results"]
    assert (first["label"], last["label"]) == ("mid", "low")
    assert png["error"]["code"] == "unsupported_format"
    assert empty["error"]["code"] == "empty_audio"
    assert (png["filename"], empty["filename"]) == ("b.wav", "c.wav")


def test_all_files_failing_is_an_error_that_lists_each(client: Client) -> None:
    answer = client.post(URL, **upload(("a.wav", PNG), ("b.wav", b"")))
    assert answer.status_code == 415
    assert answer.json()["error"]["code"] == "unsupported_format"
    codes = [result["error"]["code"] for result in answer.json()["results"]]
    assert codes == ["unsupported_format", "empty_audio"]


NAN = np.where(np.arange(800) == 5, np.nan, 0.1)
BAD_AUDIO: list[tuple[str, bytes, int, str]] = [
    ("noise", np.random.default_rng(0).bytes(5000), 415, "unsupported_format"),
    ("PNG named .wav", PNG, 415, "unsupported_format"),
    ("HTML", b"<html>" * 50, 415, "unsupported_format"),
    ("a header only", b"RIFF\x00\x00\x00\x00WAVE", 415, "unsupported_format"),
    ("no bytes", b"", 422, "empty_audio"),
    ("no samples", wav_header(n_bytes=0), 422, "empty_audio"),
    ("cut off", GOOD[:-100], 422, "truncated"),
    ("too long", wav_header(n_bytes=2 * 5 * RATE_HZ + 200), 413, "too_long"),
    ("too large", wav_header(n_bytes=210_000), 413, "too_large"),
    ("NaN", wav(NAN, subtype="FLOAT"), 422, "not_finite"),
    ("infinity", wav(NAN * np.inf, subtype="FLOAT"), 422, "not_finite"),
    ("other units", wav(np.full(800, 30_000.0), subtype="FLOAT"), 422, "out_of_range"),
    ("1 Hz", wav_header(rate_hz=1, n_bytes=4), 422, "bad_sample_rate"),
    ("4 GHz", wav_header(rate_hz=4_000_000_000), 422, "bad_sample_rate"),
    ("1024 channels", wav_header(channels=1024, n_bytes=20_480), 422, "too_many_channels"),
    ("a length of 4 GB", GOOD[:40] + struct.pack("<I", 0x7FFFEFFF) + GOOD[44:], 422, "truncated"),
]


@pytest.mark.parametrize("as_form", [True, False], ids=["form", "raw"])
@pytest.mark.parametrize(
    ("content", "status", "code"), [row[1:] for row in BAD_AUDIO], ids=[row[0] for row in BAD_AUDIO]
)
def test_bad_audio_is_a_client_error(
    client: Client, content: bytes, status: int, code: str, as_form: bool
) -> None:
    answer = client.post(URL, **(upload(("a.wav", content)) if as_form else {"content": content}))
    assert_error(answer, status, code)


def assert_error(answer: Any, status: int, code: str) -> None:
    assert answer.status_code == status
    assert set(answer.json()) == {"error"}
    assert set(answer.json()["error"]) == {"code", "message"}
    assert answer.json()["error"]["code"] == code
    assert answer.json()["error"]["message"]


async def endless() -> AsyncIterator[bytes]:
    """A body beyond every limit, without a content length."""
    yield b"--x\r\ncontent-disposition: form-data; name=file; filename=a\r\n\r\n"
    for _ in range(100):
        yield bytes(100_000)


def form_named(filename: bytes) -> dict[str, Any]:
    head = b'--x\r\ncontent-disposition: form-data; name=file; filename="' + filename
    return {"content": head + b'"\r\n\r\n' + GOOD + b"\r\n--x--\r\n", "headers": FORM}


FORM = {"content-type": "multipart/form-data; boundary=x"}
BAD_REQUESTS: dict[str, tuple[Callable[[], dict[str, Any]], int, str]] = {
    "a form of a web page": (
        lambda: {"data": {"a": "b"}, "files": {}, "headers": {}},
        415,
        "unsupported_format",
    ),
    "a field and no file": (lambda: {"files": {"file": (None, "text")}}, 400, "no_file"),
    "garbage for a form": (
        lambda: {"content": b"\x00garbage" * 9, "headers": FORM},
        400,
        "malformed_request",
    ),
    "a form that ends early": (
        lambda: {"content": b"--x\r\ncontent-disp", "headers": FORM},
        400,
        "malformed_request",
    ),
    "no boundary": (
        lambda: {"content": GOOD, "headers": {"content-type": "multipart/form-data"}},
        400,
        "malformed_request",
    ),
    "an empty form": (lambda: {"content": b"", "headers": FORM}, 400, "no_file"),
    "too many files": (lambda: upload(*[("a.wav", b"")] * 9), 413, "too_many_files"),
    "too large a form": (lambda: upload(*[("a.wav", bytes(150_000))] * 3), 413, "too_large"),
    "an endless form": (lambda: {"content": endless(), "headers": FORM}, 413, "too_large"),
    "an endless body": (lambda: {"content": endless()}, 413, "too_large"),
    "compressed": (
        lambda: {"content": gzip.compress(GOOD), "headers": {"content-encoding": "gzip"}},
        400,
        "malformed_request",
    ),
}


@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_bad_request_is_a_client_error(client: Client, name: str) -> None:
    make, status, code = BAD_REQUESTS[name]
    assert_error(client.post(URL, **make()), status, code)


def test_undecodable_file_name_is_repaired(client: Client) -> None:
    answer = client.post(URL, **form_named(b"\xff.wav"))
    assert answer.status_code == 200
    assert answer.json()["results"][0]["filename"] == "\ufffd.wav"


def test_client_disconnect_is_not_a_server_error(client: Client, portal: BlockingPortal) -> None:
    messages = iter(
        [
            {"type": "http.request", "body": GOOD[:100], "more_body": True},
            {"type": "http.disconnect"},
        ]
    )
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": URL, "headers": [], "query_string": b""}
    portal.call(client.app, scope, receive, send)
    assert sent[0]["status"] == 400


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/none", 404, "no_such_route"),
        ("POST", "/v1", 404, "no_such_route"),
        ("GET", URL, 405, "method_not_allowed"),
        ("DELETE", "/livez", 405, "method_not_allowed"),
    ],
)
def test_unknown_routes_and_methods_are_refused(
    client: Client, method: str, path: str, status: int, code: str
) -> None:
    assert_error(client.request(method, path), status, code)


def test_internal_error_has_the_common_error_shape(stopped_client: Client) -> None:
    async def broken() -> None:
        raise RuntimeError("secret")

    stopped_client.app.app.add_api_route("/broken", broken)
    answer = stopped_client.get("/broken")
    assert_error(answer, 500, "internal_error")
    assert "secret" not in answer.text


def test_ready_only_with_a_model(client: Client, stopped_client: Client) -> None:
    assert client.get("/livez").status_code == client.get("/readyz").status_code == 200
    assert stopped_client.get("/livez").status_code == 200
    assert_error(stopped_client.get("/readyz"), 503, "not_ready")
    assert_error(stopped_client.post(URL, content=GOOD), 503, "not_ready")


def test_ready_and_classify_name_the_same_model(client: Client) -> None:
    ready = client.get("/readyz").json()["model"]
    assert ready == client.post(URL, content=GOOD).json()["model"]
    assert (ready["name"], ready["architecture"]) == ("tones", "cnn")


def test_openapi_document_is_valid_and_describes_the_upload(client: Client) -> None:
    document = client.get("/openapi.json").json()
    assert OpenAPI.model_validate(document).openapi.startswith("3.")
    body = document["paths"][URL]["post"]["requestBody"]["content"]
    assert set(body) == {"multipart/form-data", "audio/*"}
    page = client.get("/docs")
    assert page.status_code == 200
    assert "http" not in page.text.replace("http://localhost", "")  # no third-party requests
