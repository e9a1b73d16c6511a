"""Training on a million clips: how much memory stays resident, and how many clips a second.

    uv run python -m tests.benchmarks.million_clips --folder /big/disk

A thousand clips of noise, half a second at 8 kHz, are written again and again: 8 GB of int16 (the
features that training does not read are left as holes in their files). Then one epoch of
``earful train`` on all of them, waveforms over the front end to the four-block CNN, in a process
of its own, whose greatest resident memory is printed: anonymous and of mapped files together, as
the kernel counts it.
"""

import argparse
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from earful.data.features.config import FeatureConfig
from tests.benchmarks.synthetic_dataset import make_dataset

LABELS = 10


def in_memory_limit_bytes(process: int) -> float:
    """The most that a process has had resident so far; nothing where it has ended."""
    status = Path(f"/proc/{process}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return 1024 * float(found[1]) if found else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, help="Where there is room; a temporary one else.")
    parser.add_argument("--clips", type=int, default=1_000_000)
    given = parser.parse_args()
    features = replace(FeatureConfig.for_rate(8_000), clip_seconds=0.5)
    with tempfile.TemporaryDirectory(dir=given.folder) as name:
        dataset = make_dataset(Path(name) / "dataset", features, given.clips, LABELS, holes=True)
        stored = dataset.array("waveforms").nbytes
        print(f"{given.clips:,} clips, {stored / 1e9:.1f} GB of int16", flush=True)
        began = time.perf_counter()
        run = subprocess.Popen(
            [
                sys.executable, "-m", "earful.training.cli", "train",
                str(dataset.folder), "--out", str(Path(name) / "run"), "--mixup", "0.1",
                "--epochs", "1", "--batch-size", "256",
            ],
        )  # fmt: skip
        peak = 0.0
        while run.poll() is None:
            peak = max(peak, in_memory_limit_bytes(run.pid))
            time.sleep(1)
        if run.returncode:
            sys.exit(run.returncode)
        seconds = time.perf_counter() - began
        print(
            f"peak resident memory {peak / 1e9:.2f} GB, {given.clips / seconds:,.0f} clips/s in all"
        )


if __name__ == "__main__":
    main()
