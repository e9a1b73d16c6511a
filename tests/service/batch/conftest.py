"""Runs the command in processes of its own."""

import csv
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.forked_command import run_forked
from tests.fixtures.synthetic_audio import PITCHES_HZ, Waveform, noise, overlay_at, tone, wav

# Label, and first and last second of each sound of ``day``.
DAY_SOUNDS = [("low", 0.5, 0.9), ("high", 2.0, 2.4), ("mid", 3.1, 3.5), ("high", 5.0, 5.4)]


def day(seconds: float = 6.5) -> Waveform:
    """A long recording with four sounds."""
    whole = noise(seconds, 1e-4)
    for label, start, _ in DAY_SOUNDS:
        whole = overlay_at(tone(label), start, whole)
    return whole


@pytest.fixture
def many_files(tmp_path: Path) -> Path:
    """A folder of 300 files; three of them are broken."""
    folder = tmp_path / "many"
    folder.mkdir()
    for number in range(300):
        label = list(PITCHES_HZ)[number % 3]
        waveform = tone(label) + noise(0.4, 0.01, seed=number)
        blob = b"RIFF" if number % 100 == 50 else wav(waveform)
        (folder / f"{number:04}.wav").write_bytes(blob)
    return folder


@pytest.fixture
def process() -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Run the command in a process of its own and check its exit code."""

    def run(*arguments: object, code: int = 0, **named: Any) -> "subprocess.CompletedProcess[str]":
        done = run_forked(arguments, timeout=200, **named)
        assert "Traceback" not in done.stderr
        assert done.returncode == code, done.stderr
        return done

    return run


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a results CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
