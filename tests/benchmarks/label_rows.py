"""Seconds to read and check a labels CSV of 100,000 rows, apart from decoding its files.

    uv run python -m tests.benchmarks.label_rows [--rows 100000]

Beside pandas.read_csv of the same file, which looks at no file. Each row has a file of its own.
"""

import argparse
import io
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from earful.data.dataset.clip_plan import plan_clips
from earful.data.labels.labels_csv import read_labels

RATE_HZ = 8_000
FILES_PER_FOLDER = 1_000


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    n_rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_files(folder, n_rows)
        tables = {
            "file and label": ("filename,label", "{}/{}.wav,{}"),
            "with times": ("filename,label,start,end", "{}/{}.wav,{},0,0.1"),
            "paths of another machine": ("filename,label", "C:\\data\\{}\\{}.wav,{}"),
        }
        for title, (header, row) in tables.items():
            path = folder / "labels.csv"
            path.write_text("\n".join([header, *format_rows(row, n_rows)]), "utf-8")
            reference = seconds(lambda path=path: pd.read_csv(path))
            reading = seconds(lambda path=path: read_labels(path))
            print(f"{title}: {reading:.1f} s, pandas.read_csv {reference:.2f} s")
        clips = read_labels(path).clips
        print(f"lengths and rates of all files: {seconds(lambda: plan_clips(clips)):.1f} s")


def write_files(folder: Path, n_files: int) -> None:
    """Tenths of a second of noise, each a file of its own."""
    noise = np.random.default_rng(0).normal(0, 0.1, RATE_HZ // 10)
    wav = io.BytesIO()
    soundfile.write(wav, noise, RATE_HZ, format="WAV")
    for number in range(n_files):
        parent = folder / str(number // FILES_PER_FOLDER)
        parent.mkdir(exist_ok=True)
        (parent / f"{number}.wav").write_bytes(wav.getvalue())


def format_rows(row: str, n_rows: int) -> list[str]:
    return [row.format(i // FILES_PER_FOLDER, i, i % 10) for i in range(n_rows)]


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
