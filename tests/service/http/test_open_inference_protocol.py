"""``/v2``: metadata, readiness and inference of the Open Inference Protocol."""

import json
from typing import Any

import numpy as np
import pytest

from earful.service.classifier import Classifier
from tests.fixtures.synthetic_audio import tone
from tests.service.conftest import Client

SAMPLES = 8_000
MODEL = "/v2/models/tones"


def clip(name: str) -> list[float]:
    return [*tone(name).tolist(), *[0.0] * (SAMPLES - len(tone(name)))]


def tensor(**changes: Any) -> dict[str, Any]:
    plain = {"name": "waveform", "datatype": "FP32", "shape": [1, SAMPLES], "data": clip("mid")}
    return plain | changes


def test_metadata_lists_inputs_and_outputs(client: Client, classifier: Classifier) -> None:
    version = classifier.bundle.sha256[:12]
    assert client.get("/v2").json()["name"] == "earful"
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/health/ready").status_code == 200
    for path in (MODEL, f"{MODEL}/versions/{version}"):
        about = client.get(path).json()
        assert about["inputs"] == [{"name": "waveform", "datatype": "FP32", "shape": [-1, SAMPLES]}]
        assert about["outputs"] == [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 3]}]
        assert client.get(path + "/ready").status_code == 200
    for path in ("/v2/models/other", f"{MODEL}/versions/7", f"{MODEL}/versions/7/ready"):
        answer = client.get(path)
        assert answer.status_code == 404
        assert isinstance(answer.json()["error"], str)


def test_model_is_not_ready_before_loading(stopped_client: Client) -> None:
    assert stopped_client.get("/v2/health/live").status_code == 200
    for path in ("/v2/health/ready", MODEL + "/ready"):
        assert stopped_client.get(path).status_code == 503


def test_inference_equals_the_classifier(client: Client, classifier: Classifier) -> None:
    data = [clip("low"), clip("high")]
    expected = classifier.run(np.array(data, np.float32))
    for shaped in (data, data[0] + data[1]):
        body = {"id": "7", "inputs": [tensor(shape=[2, SAMPLES], data=shaped)]}
        answer = client.post(MODEL + "/infer", json=body).json()
        assert (answer["id"], answer["model_name"]) == ("7", "tones")
        [output] = answer["outputs"]
        assert (output["name"], output["shape"]) == ("probabilities", [2, 3])
        np.testing.assert_allclose(np.reshape(output["data"], (2, 3)), expected, atol=1e-6)


def test_binary_tensors_go_in_and_out(client: Client, classifier: Classifier) -> None:
    binary = np.array(clip("low"), "<f4").tobytes()
    given = {"binary_data_size": len(binary)}
    head = {
        "inputs": [{**tensor(parameters=given), "data": None}],
        "parameters": {"binary_data_output": True},
    }
    text = json.dumps(head).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    answer = client.post(MODEL + "/infer", content=text + binary, headers=headers)
    assert answer.status_code == 200
    end = int(answer.headers["Inference-Header-Content-Length"])
    [output] = json.loads(answer.content[:end])["outputs"]
    assert output["parameters"]["binary_data_size"] == 12
    scores = np.frombuffer(answer.content[end:], "<f4")
    expected = classifier.run(np.array([clip("low")], np.float32))[0]
    np.testing.assert_allclose(scores, expected, atol=1e-6)


BAD: dict[str, Any] = {
    "no JSON": "{",
    "deep JSON": "[" * 100_000,
    "a list": [],
    "no input": {"inputs": []},
    "two inputs": {"inputs": [tensor(), tensor()]},
    "an input of another name": {"inputs": [tensor(name="audio")]},
    "another type": {"inputs": [tensor(datatype="INT16")]},
    "no shape": {"inputs": [tensor(shape=None)]},
    "a flat shape": {"inputs": [tensor(shape=[SAMPLES])]},
    "another length": {"inputs": [tensor(shape=[1, 7], data=[0] * 7)]},
    "a negative batch": {"inputs": [tensor(shape=[-1, SAMPLES])]},
    "no batch": {"inputs": [tensor(shape=[0, SAMPLES], data=[])]},
    "a batch of true": {"inputs": [tensor(shape=[True, SAMPLES])]},
    "too few values": {"inputs": [tensor(data=[0.5])]},
    "text for values": {"inputs": [tensor(data="loud")]},
    "ragged values": {"inputs": [tensor(data=[[1], [1, 2]])]},
    "objects": {"inputs": [tensor(data=[{}] * SAMPLES)]},
    "values of other units": {"inputs": [tensor(data=[1e30] * SAMPLES)]},
    "half a character": {"inputs": [tensor()], "outputs": [{"name": "\ud800"}]},
    "huge values": {"inputs": [tensor(data=[1e300] * SAMPLES)]},
    "an output of another name": {"inputs": [tensor()], "outputs": [{"name": "label"}]},
    "outputs of another kind": {"inputs": [tensor()], "outputs": 5},
    "an id that is no text": {"inputs": [tensor()], "id": 5},
    "a length that is no whole number": {"inputs": [tensor(shape=[1, float(SAMPLES)])]},
    "numbers as text": {"inputs": [tensor(data=["0.5"] * SAMPLES)]},
    "truth values": {"inputs": [tensor(data=[True] * SAMPLES)]},
    "a truth value among numbers": {"inputs": [tensor(data=[0.5] * (SAMPLES - 1) + [True])]},
    "clips of another length": {"inputs": [tensor(data=[clip("mid")[::2], clip("mid")[::2]])]},
    "values nested too deep": {"inputs": [tensor(data=[[[value] for value in clip("mid")]])]},
    "parameters in a list": {"inputs": [tensor(parameters=[1])]},
    "a size of true": {"inputs": [tensor(parameters={"binary_data_size": False})]},
    "a flag that is text": {"inputs": [tensor()], "parameters": {"binary_data_output": "true"}},
    "NaN where nothing reads it": {"inputs": [tensor()], "other": float("nan")},
    "a key twice": json.dumps({"inputs": [tensor()]})[:-1] + ', "id": "a", "id": "b"}',
    "a size and no bytes": {"inputs": [tensor(parameters={"binary_data_size": 4})]},
}


@pytest.mark.parametrize("name", BAD)
def test_malformed_request_gets_a_one_sentence_error(client: Client, name: str) -> None:
    body = BAD[name] if isinstance(BAD[name], str) else json.dumps(BAD[name])
    answer = client.post(MODEL + "/infer", content=body)
    assert answer.status_code == 400, answer.text
    assert isinstance(answer.json()["error"], str)


def test_values_of_another_kind_are_told_with_their_place(client: Client) -> None:
    body = {"inputs": [tensor(data=[0.5, "0.5"])]}
    message = client.post(MODEL + "/infer", json=body).json()["error"]
    assert message.startswith("inputs.0.data.1 must be a number, found '0.5'; ")


def test_nan_tokens_and_a_wrong_header_are_refused(client: Client) -> None:
    nan = json.dumps({"inputs": [tensor(data=[float("nan")] * SAMPLES)]})
    assert client.post(MODEL + "/infer", content=nan).status_code == 400
    for length in ("-1", "x", "999999999", "²", "9" * 5000):
        headers = {b"inference-header-content-length": length.encode()}
        assert client.post(MODEL + "/infer", content=b"{}", headers=headers).status_code == 400


def test_a_batch_beyond_the_limit_is_refused(client: Client) -> None:
    body = {"inputs": [tensor(shape=[9, SAMPLES], data=[0] * 9 * SAMPLES)]}
    answer = client.post(MODEL + "/infer", json=body)
    assert answer.status_code == 413
    text = json.dumps({"inputs": [tensor(shape=[1, SAMPLES])]})
    endless = text.replace("[1, 8000]", f"[{'9' * 4000}, 8000]")
    assert client.post(MODEL + "/infer", content=endless).status_code == 413


def test_lone_surrogate_in_the_id_is_echoed(client: Client) -> None:
    body = json.dumps({"id": "\ud800", "inputs": [tensor()]})
    answer = client.post(MODEL + "/infer", content=body)
    assert answer.status_code == 200
    assert answer.json()["id"] == "\ud800"
