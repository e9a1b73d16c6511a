"""What apps, gateways and phones send: taken, or refused with what to send instead."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr

from tests.fixtures.media_files import MEDIA_KINDS, encode_media
from tests.fixtures.synthetic_audio import noise, overlay_at, tone, wav
from tests.service.conftest import Client

URL = "/v1/classify"
GOOD = wav(tone("mid"))
BASE64 = base64.b64encode(GOOD)


@pytest.fixture(scope="module")
def client(open_client: Callable[..., Any], model: Path) -> Any:
    return open_client(model=model)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (json.dumps({"audio": BASE64.decode()}).encode(), "JSON"),
        (b"\n [ 1, 2 ]" + b" " * 80, "JSON"),
        (b'"' + BASE64 + b'"', "JSON"),
        (b"{}", "JSON"),
        (b"data:audio/wav;base64," + BASE64, "a data URL"),
        (BASE64, "base64"),
        (base64.encodebytes(GOOD), "base64"),
    ],
)
@pytest.mark.parametrize("content_type", ["application/json", "text/plain"])
def test_a_file_as_text_is_refused_with_what_to_send(
    client: Client, body: bytes, kind: str, content_type: str
) -> None:
    answer = client.post(URL, content=body, headers={"content-type": content_type})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (415, "unsupported_format")
    assert error["message"].startswith(f"the body is {kind}, not a file")
    assert "--data-binary @a.wav" in error["message"]
    assert "-F file=@a.wav" in error["message"]


def test_a_file_is_taken_whatever_its_content_type_says(client: Client) -> None:
    answer = client.post(URL, content=GOOD, headers={"content-type": "application/json"})
    assert answer.json()["results"][0]["label"] == "mid"


@pytest.mark.parametrize(
    ("parameter", "name"),
    [
        (b"filename*=UTF-8''%E6%97%A5.wav", "日.wav"),
        (b"filename*=iso-8859-1'en'%A3.wav", "£.wav"),
        (b"FileName*=utf-8''a%20b.wav", "a b.wav"),
        (b"filename*=\"UTF-8''a.wav\"", "a.wav"),
        (b"filename*=nothing''%C3%A9.wav", "audio"),
        (b"filename*=UTF-8''b.wav; filename=\"a.wav\"", "a.wav"),
    ],
)
def test_extended_file_name_makes_a_part_a_file(
    client: Client, parameter: bytes, name: str
) -> None:
    head = b'--X\r\nContent-Disposition: form-data; name="file"; ' + parameter
    answer = client.post(
        URL,
        content=head + b"\r\n\r\n" + GOOD + b"\r\n--X--\r\n",
        headers={"content-type": "multipart/form-data; boundary=X"},
    )
    [result] = answer.json()["results"]
    assert (result["filename"], result["label"]) == (name, "mid")


@pytest.mark.parametrize("name", MEDIA_KINDS)
def test_recordings_of_phones_and_browsers_are_classified(client: Client, name: str) -> None:
    samples = soxr.resample(tone("high"), 8_000, MEDIA_KINDS[name].rate_hz)
    answer = client.post(URL, files={"file": (name, encode_media(name, samples))})
    [result] = answer.json()["results"]
    assert (result["filename"], result["label"]) == (name, "high")


def test_long_recording_of_a_phone_has_events(client: Client) -> None:
    sound = overlay_at(tone("low"), 1.0, overlay_at(tone("high"), 3.0, noise(6.0, 1e-4)))
    m4a = encode_media("a.m4a", soxr.resample(np.asarray(sound, np.float64), 8_000, 44_100))
    [result] = client.post(URL, files={"file": ("a.m4a", m4a)}).json()["results"]
    assert [event["label"] for event in result["events"]] == ["low", "high"]
    assert result["seconds"] == pytest.approx(6, abs=0.01)
