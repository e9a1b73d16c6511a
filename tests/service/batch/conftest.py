"""Runs the command in subprocesses."""

import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fixtures.synthetic_audio import PITCHES_HZ, Waveform, noise, overlay_at, tone, wav

COMMAND = [sys.executable, "-m", "earful.training.cli"]
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
    """Run the command in a subprocess and check its exit code."""

    def run(
        *arguments: object,
        environment: dict[str, str] | None = None,
        code: int = 0,
        **named: object,
    ) -> "subprocess.CompletedProcess[str]":
        done = subprocess.run(
            [*COMMAND, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=200,
            env=os.environ | (environment or {}),
            **named,  # type: ignore[call-overload]
        )
        assert "Traceback" not in done.stderr
        assert done.returncode == code, done.stderr
        return done

    return run


def rows(path: Path) -> list[dict[str, str]]:
    """The rows of a results CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))
