"""Peak memory and time of ``prepare`` for few and for many clips, each in its own process.

    uv run python tests/benchmarks/prepare_memory.py [--clips 3000 30000]

Memory must not grow with the tensors, which are streamed to disk; the labels take about a kilobyte
per clip. The clips are links to 300 files of half a second.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile

from earful.data.dataset.prepare import prepare
from earful.data.labels.labels_csv import read_labels

RATE_HZ = 8_000
N_FILES = 300
N_LABELS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=int, nargs=2, default=(3_000, 30_000))
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure is not None:
        measure(arguments.measure)
        return
    few, many = (in_new_process(n) for n in arguments.clips)
    for n, result in zip(arguments.clips, (few, many), strict=True):
        print(
            f"{n:7,} clips: {result['seconds']:6.1f} s, "
            f"{result['clips_per_second']:6,.0f} clips/s, "
            f"peak {result['peak_mb']:6.0f} MB ({result['imported_mb']:.0f} MB of it after imports)"
        )
    clips = arguments.clips[1] / arguments.clips[0]
    print(
        f"{clips:.1f} times the clips: {many['peak_mb'] / few['peak_mb']:.2f} times the memory, "
        f"{many['seconds'] / few['seconds']:.1f} times the time"
    )


def in_new_process(n_clips: int) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        write_clips(Path(folder), n_clips)
        command = [sys.executable, __file__, "--measure", folder]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result | {"clips_per_second": n_clips / result["seconds"]}


def write_clips(folder: Path, n_clips: int) -> None:
    generator = np.random.default_rng(0)
    for n in range(N_FILES):
        clip = 0.1 * generator.standard_normal(RATE_HZ // 2)
        soundfile.write(folder / f"sound{n}.wav", clip, RATE_HZ)
    rows = ["filename,label"]
    for n in range(n_clips):
        (folder / f"clip{n}.wav").symlink_to(f"sound{n % N_FILES}.wav")
        rows.append(f"clip{n}.wav,{n % N_LABELS}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def measure(folder: Path) -> None:
    imported_mb = peak_mb()
    started = time.perf_counter()
    prepare(read_labels(folder / "labels.csv"), folder / "dataset")
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "peak_mb": peak_mb(), "imported_mb": imported_mb}))


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
