"""``/v1/activation-map``: the map of one file, and every refusal by its code."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.synthetic_audio import PITCHES_HZ, noise, tone, wav
from tests.service.conftest import Client

URL = "/v1/activation-map"
GOOD = wav(tone("mid"))


def test_form_and_raw_body_give_the_same_map(client: Client) -> None:
    answer = client.post(URL, files={"file": ("mid.wav", GOOD)})
    assert answer.status_code == 200
    body = answer.json()
    keys = ("filename", "label", "start", "end", "method", "row_edges_hz")
    assert [body[key] for key in keys] == ["mid.wav", "mid", 0, 0.4, "activation", []]
    [row] = body["map"]
    assert len(row) == 64
    raw = client.post(URL, content=GOOD).json()
    assert raw["map"] == body["map"]
    classified = client.post("/v1/classify", content=GOOD).json()
    assert classified["results"][0]["score"] == body["score"]
    assert classified["model"] == body["model"]


def test_another_label_has_another_map(client: Client) -> None:
    maps = {label: client.post(f"{URL}?label={label}", content=GOOD).json() for label in PITCHES_HZ}
    assert {label: body["label"] for label, body in maps.items()} == {x: x for x in PITCHES_HZ}
    assert maps["mid"]["score"] > 0.9
    assert maps["low"]["map"] != maps["mid"]["map"]


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        (URL, b"", 422, "empty_audio"),
        (URL, b"\x89PNG\r\n\x1a\n" + bytes(500), 415, "unsupported_format"),
        (URL, GOOD[:-100], 422, "truncated"),
        (URL, wav(noise(5.5, 0.1)), 413, "too_long"),
        (URL, bytes(200_001), 413, "too_large"),
        (f"{URL}?label=none", GOOD, 422, "unknown_label"),
        (f"{URL}?top_k=3", GOOD, 400, "unknown_parameter"),
    ],
)
def test_bad_requests_have_their_code(
    client: Client, path: str, body: bytes, status: int, code: str
) -> None:
    answer = client.post(path, content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_a_form_without_a_file_or_with_a_large_one_is_refused(client: Client) -> None:
    answer = client.post(URL, files={"label": (None, "7")})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "no_file")
    answer = client.post(URL, files={"file": ("a.wav", bytes(200_001))})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_large")


def test_two_files_are_too_many(client: Client) -> None:
    answer = client.post(URL, files=[("file", ("a.wav", GOOD)), ("file", ("b.wav", GOOD))])
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "too_many_files")


def test_it_needs_a_key_of_the_scope_classify(
    open_client: Callable[..., Client], model: Path
) -> None:
    secured = open_client(model=model, api_keys="classify:0123456789abcdef,admin:fedcba9876543210")
    for key, status in (("", 401), ("fedcba9876543210", 403), ("0123456789abcdef", 200)):
        headers = {"x-api-key": key} if key else {}
        assert secured.post(URL, content=GOOD, headers=headers).status_code == status


def test_it_is_documented(client: Client) -> None:
    route = client.get("/openapi.json").json()["paths"][URL]["post"]
    assert [parameter["name"] for parameter in route["parameters"]] == ["label"]
    assert {"200", "400", "401", "413", "415", "422", "429", "504"} <= set(route["responses"])
