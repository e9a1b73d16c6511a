"""Batch classification as a whole process: speed, memory, resuming, and what Ray costs.

    uv run python -m tests.benchmarks.batch [speed|memory|long|resume|ray ...] [--files 30000]

speed   the command on 8.6 kB files over both cores, with the four-block CNN and with the shipped
        model, against two processes of ``librosa.load`` + librosa MFCC, which classify nothing, and
        against cores times what one thread of the network alone does
memory  the highest resident memory of all processes together, at a hundredth of the files and at
        all of them
long    a recording of ten hours, window by window
resume  the same command again on a run that is finished
ray     ``--engine ray`` against the built-in engine, without the time to start it

Files are links to a few thousand different ones, so that a disk has room for them.
"""

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import argparse
import platform
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from earful.models.registry.find_model import find_model
from earful.service.classifier import MAX_BATCH, Classifier
from tests.benchmarks.single_thread_throughput import random_model

RATE_HZ = 8_000
DISTINCT_SOUNDS = 3_000
SAMPLES = 4_278  # 8.6 kB
COMMAND = [sys.executable, "-m", "earful.training.cli"]


def main() -> None:
    arguments = parse_arguments()
    print(f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}")
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        folder = Path(name)
        model = random_model(folder)
        for what in arguments.what or PARTS:
            PARTS[what](folder, model, arguments.files)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", nargs="*", metavar="|".join(PARTS), help="all of them without it")
    parser.add_argument("--files", type=int, default=30_000)
    parser.add_argument("--folder", type=Path, help="where to put the files")
    return parser.parse_args()


def speed(folder: Path, model: Path, n_files: int) -> None:
    files = make_files(folder, n_files)
    loop = librosa_loop(files)
    print(f"two processes of librosa.load + MFCC: {loop:,.0f} files/s")
    for name, path in (("four-block CNN", model), ("shipped model", find_model(None))):
        seconds, _ = classify(files, path, folder / "speed.csv", "--restart")
        rate, network = n_files / seconds, network_rate(path)
        print(
            f"{name}: {rate:,.0f} files/s, {rate / loop:.1f} times the loop, "
            f"{100 * rate / (2 * network):.0f} % of two threads of the network alone "
            f"({network:,.0f} clips/s each)"
        )


def memory(folder: Path, model: Path, n_files: int) -> None:
    few, many = (make_files(folder, n) for n in (max(n_files // 100, 1), n_files))
    peaks = [classify(each, model, folder / "memory.csv", "--restart")[1] for each in (few, many)]
    print(
        f"peak memory: {peaks[0]:.0f} MB for {n_files // 100:,} files, {peaks[1]:.0f} MB for "
        f"{n_files:,}: {peaks[1] / peaks[0]:.2f} times"
    )


def long(folder: Path, model: Path, n_files: int) -> None:
    path = folder / "ten-hours.wav"
    noise = np.random.default_rng(0).integers(-900, 900, 60 * RATE_HZ, np.int16)
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, "PCM_16") as file:
        for _ in range(600):
            file.write(noise)
    for options in ([], ["--windows"]):
        out = folder / f"long{len(options)}.csv"
        seconds, peak = classify(path, model, out, *options)
        with out.open("rb") as file:
            rows = sum(1 for _ in file) - 1
        print(
            f"ten hours {' '.join(options)}: {rows:,} rows in {seconds:.1f} s, peak {peak:.0f} MB"
        )
    path.unlink()


def resume(folder: Path, model: Path, n_files: int) -> None:
    files, out = make_files(folder, n_files), folder / "resume.csv"
    classify(files, model, out)
    seconds, _ = classify(files, model, out)
    print(f"resuming a finished run of {n_files:,} files: {seconds:.1f} s")


def ray(folder: Path, model: Path, n_files: int) -> None:
    files, few = make_files(folder, n_files), make_files(folder, 64)
    for engine in ("local", "ray"):
        options = ["--restart", "--engine", engine]
        start, _ = classify(few, model, folder / "r.csv", *options)
        seconds, _ = classify(files, model, folder / "r.csv", *options)
        took = seconds - start
        print(f"{engine}: {n_files:,} files in {took:.1f} s, and {start:.1f} s to start")
        if engine == "local":
            local = took
    print(f"ray costs {took / local:.2f} times the built-in engine")


def make_files(folder: Path, n_files: int) -> Path:
    """A folder of links to recordings of noise, 1,000 to a folder within."""
    place = folder / f"files{n_files}"
    if place.exists():
        return place
    originals = folder / "originals"
    if not originals.exists():
        originals.mkdir()
        generator = np.random.default_rng(0)
        for number in range(DISTINCT_SOUNDS):
            sound = generator.standard_normal(SAMPLES) * 0.05
            soundfile.write(originals / f"{number}.wav", sound, RATE_HZ, subtype="PCM_16")
    for number in range(n_files):
        if number % 1_000 == 0:
            (place / f"{number // 1_000:05}").mkdir(parents=True)
        link = place / f"{number // 1_000:05}" / f"{number:08}.wav"
        os.link(originals / f"{number % DISTINCT_SOUNDS}.wav", link)
    return place


def classify(source: Path, model: Path, out: Path, *options: str) -> tuple[float, float]:
    """Seconds of the whole command, and the highest memory of all its processes in MB."""
    command = [*COMMAND, "classify", source, "--model", model, "--out", out, *options]
    began = time.perf_counter()
    with (
        subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL) as process,
        peak_memory_mb(process.pid) as peak,
    ):
        code = process.wait()
    if code:
        sys.exit(f"the command ended with {code}")
    return time.perf_counter() - began, peak[0]


@contextmanager
def peak_memory_mb(pid: int) -> Iterator[list[float]]:
    """The highest proportional memory (PSS) in MB of a process and its children so far."""
    peak, stop = [0.0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.2):
            total = sum(map(pss_kb, [pid, *children(pid)]))
            peak[0] = max(peak[0], total / 1000)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield peak
    finally:
        stop.set()
        thread.join()


def children(pid: int) -> list[int]:
    try:
        tasks = Path(f"/proc/{pid}/task").glob("*/children")
        text = " ".join(task.read_text() for task in tasks)
    except OSError:
        return []
    return [int(child) for child in text.split()]


def pss_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def librosa_loop(files: Path) -> float:
    """Files a second of what a user would write first, in two processes, imports not counted."""
    paths = [path for path, _ in zip(sorted(files.rglob("*.wav")), range(3_064), strict=False)]
    first, rest = paths[:64], paths[64:]
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(mfcc_of, (first[0::2], first[1::2])))  # imports, compiled functions
        return len(rest) / timed(lambda: list(pool.map(mfcc_of, (rest[0::2], rest[1::2]))))


def mfcc_of(paths: list[Path]) -> float:
    import librosa

    total = 0.0
    for path in paths:
        sound, rate = librosa.load(path, sr=RATE_HZ)
        total += float(librosa.feature.mfcc(y=sound, sr=rate, n_mfcc=40).sum())
    return total


def network_rate(model: Path) -> float:
    """Clips a second of the model file alone, on one thread, in batches as large as ours."""
    classifier = Classifier.open(model)
    clips = np.zeros((MAX_BATCH, classifier.metadata.features.clip_samples), np.float32)
    clips += np.random.default_rng(0).standard_normal(clips.shape).astype(np.float32) * 0.05
    classifier.run(clips)
    rounds = 30
    return rounds * MAX_BATCH / timed(lambda: [classifier.run(clips) for _ in range(rounds)])


def timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


PARTS = {"speed": speed, "memory": memory, "long": long, "resume": resume, "ray": ray}

if __name__ == "__main__":
    if shutil.disk_usage(tempfile.gettempdir()).free < 2 << 30:
        sys.exit("two gigabytes are needed; give another --folder")
    main()
