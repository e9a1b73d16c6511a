"""A model that is right on its golden example and wrong on other input, in every way in."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import Result

import earful
from earful.models.bundle import session_calls
from earful.models.registry.shipped import SHIPPED_MODELS
from earful.service.classifier import Classifier, InferenceError
from tests.fixtures.forked_command import ForkedCommand, run_forked
from tests.fixtures.hostile_models import (
    allocates_terabytes,
    folds_for_ever,
    hostile_model,
    loops_on,
    nan_embedding_on_other_input,
    one_endless_node,
    scores_times_on_other_input,
)
from tests.fixtures.synthetic_audio import RATE_HZ, tone, wav
from tests.fixtures.waiting import cpu_seconds, wait_until
from tests.service.conftest import Client

MODEL = SHIPPED_MODELS["digits-small"]
QUIET = wav(tone("mid", level=0.2))
LOUD = wav(np.ones(RATE_HZ // 2, np.float32))
# The command with limits that a test can wait for.
IMPATIENT = """
from earful.models.bundle import call_watcher, session_calls
from earful.training.cli import main
session_calls.OPEN_SECONDS = session_calls.RUN_SECONDS = 1.0
call_watcher.STOP_SECONDS = 0.5
if __name__ == "__main__":
    main()
"""


@pytest.fixture(scope="module")
def nan_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nan")
    return hostile_model(MODEL, folder / "nan.onnx", scores_times_on_other_input(np.nan))


@pytest.mark.parametrize("factor", [np.nan, np.inf, -1.0, 3.0, 0.5])
def test_scores_that_are_no_probabilities_are_an_error(factor: float, tmp_path: Path) -> None:
    path = hostile_model(MODEL, tmp_path / "wrong.onnx", scores_times_on_other_input(factor))
    classifier = Classifier.open(path)
    quiet, loud = (classifier.decode(content).waveform for content in (QUIET, LOUD))
    assert classifier.classify([quiet])[0].label in classifier.labels
    with pytest.raises(InferenceError, match=r"not finite|the sum"):
        classifier.classify([quiet, loud])


def test_an_embedding_that_is_not_finite_is_an_error(tmp_path: Path) -> None:
    path = hostile_model(MODEL, tmp_path / "nan.onnx", nan_embedding_on_other_input)
    (tmp_path / "loud.wav").write_bytes(LOUD)
    model = earful.load(path)
    with pytest.raises(InferenceError, match="embedding that is not finite"):
        model.embed(tmp_path / "loud.wav")


def test_a_row_without_a_score_is_an_error_and_the_others_are_unharmed(
    nan_model: Path, tmp_path: Path, earful: Callable[..., Result]
) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for n in range(6):
        (folder / f"{n}.wav").write_bytes(LOUD if n == 3 else QUIET)
    out = tmp_path / "out.jsonl"
    result = earful("classify", folder, "--model", nan_model, "--out", out, "--workers", 1)
    assert result.exit_code == 1, result.output
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["status"] for row in rows] == ["ok"] * 3 + ["error"] + ["ok"] * 2
    assert rows[3]["error"].startswith("inference_failed: ")


def test_a_long_recording_without_scores_is_an_error_row(
    nan_model: Path, tmp_path: Path, earful: Callable[..., Result]
) -> None:
    loud = np.sign(tone("mid", 0.5)).astype(np.float32)
    long = np.concatenate([np.concatenate([loud, np.zeros(RATE_HZ, np.float32)])] * 4)
    (tmp_path / "long.wav").write_bytes(wav(long))
    result = earful("classify", tmp_path / "long.wav", "--model", nan_model)
    assert result.exit_code == 1
    assert "inference_failed" in result.output


def test_http_answers_500_for_the_file_alone(
    nan_model: Path, open_client: Callable[..., Client]
) -> None:
    client = open_client(model=nan_model)
    files = [("file", (name, LOUD if name == "loud" else QUIET)) for name in ("a", "loud", "b")]
    results = client.post("/v1/classify", files=files).json()["results"]
    assert ["error" in result for result in results] == [False, True, False]
    assert results[1]["error"]["code"] == "inference_failed"
    alone = client.post("/v1/classify", content=LOUD)
    assert (alone.status_code, alone.json()["error"]["code"]) == (500, "inference_failed")
    assert client.post("/v1/classify", content=QUIET).status_code == 200


def test_names_of_a_models_nodes_do_not_reach_the_terminal(tmp_path: Path) -> None:
    def change(proto: onnx.ModelProto) -> None:
        allocates_terabytes(proto)
        for node in proto.graph.node:
            node.name = f"\x1b]0;PWNED\x07{node.name}"

    path = hostile_model(MODEL, tmp_path / "large.onnx", change)
    (tmp_path / "a.wav").write_bytes(LOUD)
    result = run_forked(["classify", tmp_path / "a.wav", "--model", path])
    assert result.returncode == 2
    assert "large.onnx" in result.stderr
    assert "\x1b" not in result.stderr
    assert "onnxruntime:" not in result.stderr  # of its own log


@pytest.mark.slow
def test_a_model_that_does_not_end_is_reported_until_it_does(
    tmp_path: Path, open_client: Callable[..., Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    change = loops_on(other_input_only=True, depth=2)
    client = open_client(model=hostile_model(MODEL, tmp_path / "endless.onnx", change))
    monkeypatch.setattr(session_calls, "RUN_SECONDS", 0.5)
    alone = client.post("/v1/classify", content=LOUD)
    assert (alone.status_code, alone.json()["error"]["code"]) == (500, "inference_failed")
    assert "did not finish" in client.get("/readyz").json()["model_timeout"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "n_files"),
    [
        (loops_on(other_input_only=True, depth=2), 1),
        (loops_on(other_input_only=True), 3),  # in a worker process
        (folds_for_ever, 1),
        (one_endless_node, 1),
    ],
    ids=["run", "worker", "constants", "one node"],
)
def test_a_model_that_never_ends_ends_the_command(
    change: Callable[[onnx.ModelProto], None], n_files: int, tmp_path: Path
) -> None:
    path = hostile_model(MODEL, tmp_path / "endless.onnx", change)
    files = [tmp_path / f"{n}.wav" for n in range(n_files)]
    for file in files:
        file.write_bytes(LOUD)
    (tmp_path / "impatient.py").write_text(IMPATIENT)
    command = [sys.executable, tmp_path / "impatient.py", "classify", *files, "--model", path]
    result = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert result.returncode == 2, result.stderr
    assert "endless.onnx" in result.stderr.replace("\n", "")
    assert "use another model" in " ".join(result.stderr.split())
    assert "Traceback" not in result.stderr


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(
    "change",
    [loops_on(other_input_only=True), one_endless_node],
)
def test_a_signal_ends_the_command_while_a_model_loops(
    change: Callable[[onnx.ModelProto], None], number: signal.Signals, tmp_path: Path
) -> None:
    path = hostile_model(MODEL, tmp_path / "endless.onnx", change)
    (tmp_path / "loud.wav").write_bytes(LOUD)
    words = ["classify", tmp_path / "loud.wav", "--model", path]
    with ForkedCommand(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        wait_until(lambda: cpu_seconds(process.pid) > 1.0, 90)  # longer than its start
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 128 + number
    assert "Traceback" not in errors
