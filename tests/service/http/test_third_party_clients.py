"""Unchanged third-party clients against a server in its own process."""

import base64
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import InferenceClient
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from earful.service.classifier import Classifier
from tests.fixtures.server import RunningServer, running_server
from tests.fixtures.synthetic_audio import tone, wav

pytestmark = pytest.mark.slow
SCHEMATHESIS_CHECKS = (
    "not_a_server_error",
    "response_schema_conformance",
    "status_code_conformance",
    "content_type_conformance",
)


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A service with jobs: without them, their routes end in a 503."""
    folder = tmp_path_factory.mktemp("clients")
    with running_server(folder, model, EARFUL_JOBS_DIR=str(folder / "jobs")) as started:
        yield started


def test_hugging_face_hub(server: RunningServer, tmp_path: Path) -> None:
    client = InferenceClient(model=f"{server.url}/hf", token="none")  # noqa: S106
    path = tmp_path / "mid.wav"
    path.write_bytes(wav(tone("mid")))
    for audio in (str(path), path, path.read_bytes()):
        answer = client.audio_classification(audio)
        assert (answer[0].label, len(answer)) == ("mid", 3)
    answer = client.audio_classification(path, top_k=2, function_to_apply="none")
    assert len(answer) == 2
    assert answer[1].score < answer[0].score <= 0
    with pytest.raises(Exception, match="not audio"):
        client.audio_classification(b"nonsense")


def test_triton(server: RunningServer, classifier: Classifier) -> None:
    client = InferenceServerClient(server.url.removeprefix("http://"))
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("tones")
    assert not client.is_model_ready("other")
    assert client.get_model_metadata("tones")["platform"] == "onnx_onnxv1"
    samples = classifier.metadata.features.clip_samples
    clips = np.zeros((2, samples), np.float32)
    for row, label in enumerate(("high", "low")):
        clips[row, : len(tone(label))] = tone(label)
    expected = classifier.run(clips)
    for binary in (True, False):
        tensor = InferInput("waveform", list(clips.shape), "FP32")
        tensor.set_data_from_numpy(clips, binary_data=binary)
        output = InferRequestedOutput("probabilities", binary_data=binary)
        for outputs in ([output], None):
            answer = client.infer("tones", [tensor], outputs=outputs, request_id="a")
            np.testing.assert_allclose(answer.as_numpy("probabilities"), expected, atol=1e-6)
            assert answer.get_response()["id"] == "a"
    client.close()


def test_curl(server: RunningServer, tmp_path: Path) -> None:
    path = tmp_path / "low.wav"
    path.write_bytes(wav(tone("low")))
    for upload in (["-F", f"file=@{path}"], ["--data-binary", f"@{path}"]):
        command = ["curl", "-sS", "--noproxy", "*", *upload, f"{server.url}/v1/classify"]
        answer = subprocess.run(command, capture_output=True, check=True).stdout
        assert b'"label":"low"' in answer


def test_responses_match_the_openapi_schema(server: RunningServer, tmp_path: Path) -> None:
    """schemathesis: no generated request may end in a 500."""
    command = [
        *(str(Path(sys.executable).with_name("schemathesis")), "run", f"{server.url}/openapi.json"),
        *("--max-examples", "8", "--seed", "7", "--phases", "examples,coverage,fuzzing"),
        *("--checks", ",".join(SCHEMATHESIS_CHECKS)),
        *("--suppress-health-check", "all", "--request-timeout", "20"),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout[-6000:]


def test_base64_of_the_whole_alphabet_survives(server: RunningServer) -> None:
    """Hugging Face's JavaScript client sends the file in base64, in JSON."""
    with server.client() as client:
        body = {"inputs": base64.b64encode(wav(tone("high"))).decode()}
        assert client.post("/hf", json=body).json()[0]["label"] == "high"
