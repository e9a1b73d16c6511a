"""Batch classification from the command line: speed, memory, resuming, overhead of Ray.

    uv run python -m tests.benchmarks.batch [speed|memory|long|resume|ray ...] [--files 30000]

speed   files of 8.6 kB on two cores, with the four-block CNN and with the shipped model; compared
        with two processes of ``librosa.load`` + librosa MFCC without any classification, and with
        twice the throughput of the network alone on one thread
memory  peak memory of all processes together, for 1 % of the files and for all of them
long    a recording of ten hours
resume  the same command on a finished run
ray     ``--engine ray`` compared with the built-in engine, without start-up time

Files are links to a few thousand distinct ones, to save disk space.
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
        for part in arguments.parts or PARTS:
            PARTS[part](folder, model, arguments.files)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="|".join(PARTS), help="default: all")
    parser.add_argument("--files", type=int, default=30_000)
    parser.add_argument("--folder", type=Path, help="folder for the files")
    return parser.parse_args()


def speed(folder: Path, model: Path, n_files: int) -> None:
    files = make_files(folder, n_files)
    loop = librosa_loop(files)
    print(f"two processes of librosa.load + MFCC: {loop:,.0f} files/s")
    for name, path in (
        ("four-block CNN", model),
        ("digits", find_model("digits")),
        ("digits-small", find_model("digits-small")),
    ):
        seconds, _ = classify(files, path, folder / "speed.csv", "--restart")
        rate, network = n_files / seconds, network_rate(path)
        print(
            f"{name}: {rate:,.0f} files/s, {rate / loop:.1f} times the loop, "
            f"{100 * rate / (2 * network):.0f} % of two threads of the network alone "
            f"({network:,.0f} clips/s each)"
        )


def memory(folder: Path, model: Path, n_files: int) -> None:
    few, many = (make_files(folder, n) for n in (max(n_files // 100, 1), n_files))
    peaks = [classify(files, model, folder / "memory.csv", "--restart")[1] for files in (few, many)]
    print(
        f"peak memory: {peaks[0]:.0f} MB for {n_files // 100:,} files, {peaks[1]:.0f} MB for "
        f"{n_files:,}: {peaks[1] / peaks[0]:.2f} times"
    )


def long(folder: Path, model: Path, n_files: int) -> None:
    path = folder / "ten-hours.wav"
    generator = np.random.default_rng(0)
    noise = generator.integers(-90, 90, 60 * RATE_HZ, np.int16)
    # A sound of 0.4 s every 1.5 s, so that there are events to find.
    for start in range(0, len(noise), round(1.5 * RATE_HZ)):
        noise[start : start + round(0.4 * RATE_HZ)] *= 50
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, "PCM_16") as file:
        for _ in range(600):
            file.write(noise)
    for options in (["--mode", "file"], ["--mode", "windows"], ["--mode", "events"]):
        out = folder / f"long-{options[1]}.csv"
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
        net_seconds = seconds - start
        print(f"{engine}: {n_files:,} files in {net_seconds:.1f} s, {start:.1f} s to start")
        if engine == "local":
            local = net_seconds
    print(f"ray takes {net_seconds / local:.2f} times as long as the built-in engine")


def make_files(folder: Path, n_files: int) -> Path:
    """A folder of hard links to noise recordings, 1,000 per subfolder."""
    links = folder / f"files{n_files}"
    if links.exists():
        return links
    originals = folder / "originals"
    if not originals.exists():
        originals.mkdir()
        generator = np.random.default_rng(0)
        for number in range(DISTINCT_SOUNDS):
            sound = generator.standard_normal(SAMPLES) * 0.05
            soundfile.write(originals / f"{number}.wav", sound, RATE_HZ, subtype="PCM_16")
    for number in range(n_files):
        if number % 1_000 == 0:
            (links / f"{number // 1_000:05}").mkdir(parents=True)
        link = links / f"{number // 1_000:05}" / f"{number:08}.wav"
        os.link(originals / f"{number % DISTINCT_SOUNDS}.wav", link)
    return links


def classify(source: Path, model: Path, out: Path, *options: str) -> tuple[float, float]:
    """Seconds of the command, and peak memory of all its processes in MB."""
    command = [*COMMAND, "classify", source, "--model", model, "--out", out, *options]
    started = time.perf_counter()
    with (
        subprocess.Popen(list(map(str, command)), stderr=subprocess.DEVNULL) as process,
        peak_memory_mb(process.pid) as peak,
    ):
        code = process.wait()
    if code:
        sys.exit(f"the command ended with {code}")
    return time.perf_counter() - started, peak[0]


@contextmanager
def peak_memory_mb(pid: int) -> Iterator[list[float]]:
    """Peak PSS (proportional set size) in MB of a process and its children, so far."""
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
    """Files/s of ``librosa.load`` + MFCC in two processes, without import time."""
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
    """Clips/s of the model alone, on one thread, in batches of ``MAX_BATCH``."""
    classifier = Classifier.open(model)
    clips = np.zeros((MAX_BATCH, classifier.metadata.features.clip_samples), np.float32)
    clips += np.random.default_rng(0).standard_normal(clips.shape).astype(np.float32) * 0.05
    classifier.run(clips)
    rounds = 30
    return rounds * MAX_BATCH / timed(lambda: [classifier.run(clips) for _ in range(rounds)])


def timed(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


PARTS = {"speed": speed, "memory": memory, "long": long, "resume": resume, "ray": ray}

if __name__ == "__main__":
    if shutil.disk_usage(tempfile.gettempdir()).free < 2 << 30:
        sys.exit("2 GB of disk space are needed; give another --folder")
    main()
