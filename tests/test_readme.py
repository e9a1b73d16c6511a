"""The README's commands and its Python snippet are run as they stand there, on a set of tones."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from earful.training.cli import build_app
from tests.fixtures.synthetic_audio import PITCHES_HZ, RATE_HZ, tone

ROOT = Path(__file__).resolve().parents[1]
# Commands that have commands of their own.
GROUPS = ("feedback", "labels", "models")
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block_after(heading: str) -> str:
    """The first fenced block below a heading."""
    found = re.search(rf"^## {heading}$.*?^```\w*\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found.group(1)


def commands(block: str) -> list[list[str]]:
    """Words of each ``uv run earful`` line, without comments."""
    lines = [line for line in block.splitlines() if line.startswith("uv run earful")]
    return [shlex.split(line, comments=True)[2:] for line in lines]


def earful(words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "earful.training.cli", *words[1:]]
    return subprocess.run(
        program, cwd=folder, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        check=False, capture_output=True, text=True, timeout=200,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the README assumes it: labels.csv and recordings/."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "recordings").mkdir()
    rows = ["filename,label"]
    rng = np.random.default_rng(0)
    for label in PITCHES_HZ:
        for n in range(10):
            sound = tone(label, seconds=0.5, level=rng.uniform(0.1, 0.5))
            soundfile.write(folder / "recordings" / f"{label}{n}.wav", sound, RATE_HZ)
            rows.append(f"recordings/{label}{n}.wav,{label}")
    (folder / "labels.csv").write_text("\n".join(rows))
    soundfile.write(folder / "clip.wav", tone("low"), RATE_HZ)
    return folder


@pytest.mark.slow
def test_the_commands_for_ones_own_data_work_in_their_order(folder: Path) -> None:
    """All but ``serve``, which would not end; training is cut to three epochs."""
    run = [words for words in commands(block_after("Your own data")) if words[1] != "serve"]
    assert [words[1] for words in run] == [
        "check", "prepare", "train", "export", "evaluate", "classify",
    ]  # fmt: skip
    for words in run:
        short = ["--epochs", "3"] if words[1] == "train" else []
        done = earful([*words, *short], folder)
        assert done.returncode == 0, (words, done.stderr)
    assert (folder / "results.csv").read_text().count("\n") == 31
    snippet = re.search(r"```python\n(import onnxruntime.*?)```", README, re.DOTALL)
    assert snippet is not None
    ran = subprocess.run(
        [sys.executable, "-c", snippet.group(1) + "\nprint(probabilities.max())"],
        cwd=folder, check=True, capture_output=True, text=True,
    )  # fmt: skip
    answer = earful(["earful", "classify", "clip.wav", "--model", "model.onnx"], folder).stdout
    score = float(answer.splitlines()[1].split(",")[4])
    assert float(ran.stdout) == pytest.approx(score, abs=1e-5)


def test_every_command_that_the_readme_names_exists_with_its_flags() -> None:
    text = README.replace("\\\n", " ")
    found = re.findall(r"uv run (?:--no-sync )?(earful [a-z][^\n`|#&]*)", text)
    assert len(found) > 15
    for line in found:
        words = shlex.split(line)
        command = words[1:3] if words[1] in GROUPS else words[1:2]
        result = CliRunner().invoke(build_app(), [*command, "--help"], env={"COLUMNS": "200"})
        help_text = result.output
        assert result.exit_code == 0, line
        for flag in (word for word in words if word.startswith("--")):
            assert flag in help_text, (line, flag)


def test_the_files_that_the_readme_names_exist() -> None:
    for path in re.findall(r"tests/benchmarks/\w+\.py|Dockerfile|LICENSE|uv\.lock", README):
        assert (ROOT / path).is_file(), path
