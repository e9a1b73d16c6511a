"""A command that may not have the memory it needs says so in a sentence, and never a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.training.commands.conftest import Home

EARFUL = [sys.executable, "-m", "earful.training.cli"]
SENTENCE = "earful: out of memory; raise the limit"
# Below the lowest, the interpreter does not start; at 500, a library hangs while it is loaded;
# above the highest, nothing is missing. Of each command's own, the first ends it while it is
# loaded, each at another library, and the second in its work.
LIMITS_MB = {"classify": (260, 700), "prepare": (700, 2200), "train": (1100, 3000)}
DEADLINE_SECONDS = 120


def run_with_memory(limit_mb: int, words: list[object]) -> tuple[int, str]:
    """Exit code and stderr of a command that may have so much address space."""
    limit = ["sh", "-c", f'ulimit -v {limit_mb * 1000} && exec "$0" "$@"']
    ended = subprocess.run(
        [*limit, *EARFUL, *map(str, words)],
        capture_output=True,
        text=True,
        errors="replace",
        timeout=DEADLINE_SECONDS,
        check=False,
    )
    return ended.returncode, ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", ["classify", "prepare", "train"])
def test_too_little_memory_is_a_sentence(home: Home, tmp_path: Path, command: str) -> None:
    words: dict[str, list[object]] = {
        "classify": [home.labels.parent, "--model", home.model, "--out", tmp_path / "results.csv"],
        "prepare": [home.labels, "--out", tmp_path / "dataset", "--split", "random"],
        "train": [home.dataset, "--out", tmp_path / "run", "--model", "cnn", "--epochs", 1],
    }
    n_sentences = 0
    for limit_mb in LIMITS_MB[command]:
        code, stderr = run_with_memory(limit_mb, [command, *words[command]])
        assert "Traceback" not in stderr, (limit_mb, stderr)
        assert "internal error" not in stderr, (limit_mb, stderr)
        if code == 0:
            break
        n_sentences += SENTENCE in stderr
    assert n_sentences >= 1
    assert not any(tmp_path.rglob("*.earful-*")) or code == 0
