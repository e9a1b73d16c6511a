"""``/hf``: bytes or JSON in, a list of labels and scores out, errors as one sentence."""

import base64
import json
import math
from typing import Any

import pytest

from tests.fixtures.synthetic_audio import tone, wav
from tests.service.conftest import Client

GOOD = wav(tone("mid"))
JSON = {"content-type": "application/json"}


def ask(client: Client, **parameters: Any) -> Any:
    body = {"inputs": base64.b64encode(GOOD).decode(), "parameters": parameters}
    return client.post("/hf", content=json.dumps(body), headers=JSON)


def test_bytes_of_any_content_type_are_a_file(client: Client) -> None:
    for headers in ({}, {"content-type": "audio/x-wav"}, {"content-type": "text/plain"}):
        answer = client.post("/hf", content=GOOD, headers=headers)
        assert answer.status_code == 200
        labels = [entry["label"] for entry in answer.json()]
        assert labels[0] == "mid"
        assert sorted(labels) == ["high", "low", "mid"]
        assert sum(entry["score"] for entry in answer.json()) == pytest.approx(1, abs=1e-4)


def test_parameters_select_top_k_and_scores(client: Client) -> None:
    assert len(ask(client, top_k=2).json()) == 2
    assert len(ask(client, top_k=99, function_to_apply=None, colour=None).json()) == 3
    plain = ask(client).json()[0]["score"]
    logit = ask(client, function_to_apply="none").json()[0]["score"]
    assert math.exp(logit) == pytest.approx(plain, abs=1e-4)
    assert ask(client, function_to_apply="sigmoid").json()[0]["score"] == pytest.approx(
        plain / (1 + plain), abs=1e-4
    )


BAD = {
    "no JSON": b"{",
    "deep JSON": b"[" * 100_000,
    "a list": b"[]",
    "no inputs": b"{}",
    "inputs of another kind": b'{"inputs": 5}',
    "bad padding": b'{"inputs": "abc"}',
    "no base64": '{"inputs": "äöü"}'.encode(),
    "parameters of another kind": b'{"inputs": "", "parameters": 5}',
    "an unknown parameter": b'{"inputs": "", "parameters": {"colour": 1}}',
    "top_k of zero": b'{"inputs": "", "parameters": {"top_k": 0}}',
    "top_k of true": b'{"inputs": "", "parameters": {"top_k": true}}',
    "another function": b'{"inputs": "", "parameters": {"function_to_apply": "relu"}}',
    "parameters of false": b'{"inputs": "", "parameters": false}',
    "parameters in a list": b'{"inputs": "", "parameters": []}',
    "a top_k of infinity": b'{"inputs": "", "parameters": {"top_k": Infinity}}',
    "NaN where nothing reads it": b'{"inputs": "", "options": NaN}',
    "a key twice": b'{"inputs": "", "inputs": ""}',
    "a function that is a list": b'{"inputs": "", "parameters": {"function_to_apply": []}}',
}


@pytest.mark.parametrize("name", BAD)
def test_malformed_request_gets_a_one_sentence_error(client: Client, name: str) -> None:
    answer = client.post("/hf", content=BAD[name], headers=JSON)
    assert answer.status_code == 400
    assert list(answer.json()) == ["error"]
    assert isinstance(answer.json()["error"], str)


def test_the_error_says_what_was_found_and_what_is_accepted(client: Client) -> None:
    assert ask(client, top_k=0).json()["error"] == (
        "parameters.top_k must be greater than or equal to 1, found 0"
    )
    assert ask(client, colour=1).json()["error"] == (
        "parameters.colour is unknown; accepted are function_to_apply, top_k"
    )


def test_bad_audio_gets_a_one_sentence_error_and_its_status(client: Client) -> None:
    for content, status in ((b"nonsense", 415), (b"", 422), (GOOD[:-100], 422)):
        answer = client.post("/hf", content=content)
        assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert client.get("/hf").json() == {"error": "Method Not Allowed"}
