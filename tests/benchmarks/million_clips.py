"""Training on a million clips: peak resident memory and clips/s.

    uv run python -m tests.benchmarks.million_clips --folder /big/disk

The dataset repeats a thousand clips of noise of half a second at 8 kHz: 8 GB of int16. Features
that training does not read are sparse files. Measured is one epoch of ``earful train`` from
waveforms with the four-block CNN, in its own process. Resident memory includes memory-mapped files.
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


def peak_resident_bytes(pid: int) -> float:
    """Peak resident memory of a process so far (Linux); 0 after it has ended."""
    status = Path(f"/proc/{pid}/status").read_text()
    match = re.search(r"VmHWM:\s+(\d+) kB", status)
    return 1024 * float(match[1]) if match else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--folder",
        type=Path,
        help="Folder with 10 GB of free space (default: the temporary folder).",
    )
    parser.add_argument("--clips", type=int, default=1_000_000)
    arguments = parser.parse_args()
    features = replace(FeatureConfig.for_rate(8_000), clip_seconds=0.5)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        dataset = make_dataset(
            Path(name) / "dataset", features, arguments.clips, LABELS, holes=True
        )
        stored = dataset.array("waveforms").nbytes
        print(f"{arguments.clips:,} clips, {stored / 1e9:.1f} GB of int16", flush=True)
        started = time.perf_counter()
        command = [sys.executable, "-m", "earful.training.cli", "train", str(dataset.folder)]
        options = ["--mixup", "0.1", "--epochs", "1", "--batch-size", "256"]
        run = subprocess.Popen([*command, "--out", str(Path(name) / "run"), *options])
        peak = 0.0
        while run.poll() is None:
            peak = max(peak, peak_resident_bytes(run.pid))
            time.sleep(1)
        if run.returncode:
            sys.exit(run.returncode)
        seconds = time.perf_counter() - started
        print(
            f"peak resident memory {peak / 1e9:.2f} GB, "
            f"{arguments.clips / seconds:,.0f} clips/s in total"
        )


if __name__ == "__main__":
    main()
