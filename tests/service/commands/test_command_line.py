"""The command line as a process: exit codes, one sentence for an error, never a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.fixtures.forked_command import run_forked

# A fresh interpreter in which some packages cannot be imported, as in a serving-only install.
BLOCKED = """
import sys
from importlib.abc import MetaPathFinder

class Blocker(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocker())
from earful.training.cli import main
main()
"""
TRAINING_ONLY = (
    "torch",
    "torchaudio",
    "librosa",
    "pandas",
    "scipy",
    "sklearn",
    "onnx",
    "onnxscript",
    "matplotlib",
    "tensorboard",
)


def earful(*arguments: object, blocked: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    if not blocked:
        done = run_forked(arguments, timeout=120)
    else:
        program = BLOCKED.format(names=set(blocked))
        command = [sys.executable, "-c", program, *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["classify", "x.wav", "--model", "none.onnx"], "earful: no model file none.onnx"),
        (["classify", "x.wav", "--out", "r.txt"], "earful: results are written as .csv or .jsonl"),
        (["classify"], "Missing argument"),
        (["classify", "x.wav", "--top-k", "0"], "Invalid value"),
        (["classify", "x.wav", "--colour"], "No such option"),
        (["serve", "--port", "70000"], "Invalid value"),
        (["nonsense"], "No such command"),
        (["export", "a" * 300, "--out", "m.onnx"], "File name too long"),
        (
            ["synth", "--words", "oui,non", "--out", "v", "--languages", "xx-yy", "--voices", "2"],
            "xx-yy",
        ),
    ],
)
def test_bad_usage_ends_with_2_and_says_why(arguments: list[str], message: str) -> None:
    done = earful(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""


@pytest.mark.slow
def test_results_go_to_stdout_and_messages_to_stderr(model: Path, tones: Path) -> None:
    done = earful("classify", tones, "--model", model)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 4
    assert done.stderr == ""
    (tones / "bad.wav").write_bytes(b"")
    done = earful("classify", tones, "--model", model)
    assert done.returncode == 1
    assert len(done.stdout.splitlines()) == 5
    assert done.stderr == "3 of 4 files classified, 1 failed (1 empty_audio)\n"


@pytest.mark.slow
@pytest.mark.parametrize("folders", [1, 2000], ids=["less than a buffer", "more than a pipe"])
def test_closed_pipe_is_silent(model: Path, tones: Path, folders: int) -> None:
    command = [sys.executable, "-m", "earful.training.cli"]
    command += ["classify", *[str(tones)] * folders, "--model", str(model)]
    buffered = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, env=buffered) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    "arguments",
    [
        ["train", "dataset", "--out", "run"],
        ["prepare", "l.csv", "--out", "d"],
        ["export", "run", "--out", "m.onnx"],
        ["demo", "--out", "artifacts/none"],
    ],
)
def test_training_commands_without_their_packages_name_the_install_command(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[3])]))
    (tmp_path / "l.csv").write_text("filename,label\na.wav,a\n", encoding="utf-8")
    done = earful(*arguments, blocked=TRAINING_ONLY)
    assert done.returncode == 2
    assert "uv sync --inexact --extra train" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "artifacts").exists()


@pytest.mark.slow
def test_train_without_torch_alone_names_torch() -> None:
    done = earful("train", "dataset", "--out", "run", blocked=("torch",))
    assert done.returncode == 2
    assert "needs torch; install it with: uv sync --inexact --extra train" in done.stderr


@pytest.mark.slow
def test_serving_commands_need_none_of_the_training_packages(model: Path, tones: Path) -> None:
    assert earful("--help", blocked=TRAINING_ONLY).returncode == 0
    assert earful("train", "--help", blocked=TRAINING_ONLY).returncode == 0
    assert earful("classify", tones, "--model", model, blocked=TRAINING_ONLY).returncode == 0
