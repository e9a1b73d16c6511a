"""What a job costs others: short uploads with and without one, memory of the worker, speed.

python tests/benchmarks/jobs.py [--model MODEL] [--minutes 20] [--seconds 3] [--turns 6]
"""

import argparse
import os
import sys
import tempfile
import threading
import time
from pathlib import Path

import httpx
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.fixtures.server import RunningServer, running_server_afresh
from tests.fixtures.synthetic_audio import noise, tone, wav

ROOT = Path(__file__).parents[2]


def recording_of(minutes: int) -> bytes:
    """A recording with a sound every second."""
    rng = np.random.default_rng(0)
    seconds = []
    for _ in range(60):
        second = noise(1.0, 0.002, int(rng.integers(1 << 30)))
        sound = tone(str(rng.choice(["low", "mid", "high"])), 0.4)
        second[2000 : 2000 + len(sound)] += sound
        seconds.append(second)
    return wav(np.tile(np.concatenate(seconds), minutes))


def latencies(server: RunningServer, seconds: float, connections: int) -> list[float]:
    """Seconds of each short upload, from clients that send one after another."""
    found: list[float] = []
    end = time.monotonic() + seconds

    def upload() -> None:
        content = wav(tone("mid"))
        with server.client() as client:
            while time.monotonic() < end:
                started = time.perf_counter()
                assert client.post("/v1/classify", content=content).status_code == 200
                found.append(time.perf_counter() - started)

    threads = [threading.Thread(target=upload) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def memory_mb(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) // 1024


def show(name: str, found: list[float]) -> float:
    p50, p99 = np.percentile(found, [50, 99]) * 1000
    print(f"{name}: {len(found)} uploads, p50 {p50:.1f} ms, p99 {p99:.1f} ms")
    return float(p99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=ROOT / "models/pretrained/digits.onnx")
    parser.add_argument("--minutes", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--turns", type=int, default=6)
    parser.add_argument("--connections", type=int, default=1)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["EARFUL_JOBS_DIR"] = f"{folder}/jobs"
        os.environ["EARFUL_FEEDBACK_URL"] = "off"
        with (
            running_server_afresh(Path(folder), options.model) as server,
            server.client() as client,
        ):
            measure(server, client, options)


def measure(server: RunningServer, client: httpx.Client, options: argparse.Namespace) -> None:
    pid = server.process.pid
    latencies(server, 2, options.connections)
    print(f"memory before: {memory_mb(pid, 'VmRSS')} MB, at most {memory_mb(pid, 'VmHWM')} MB")
    recording = recording_of(options.minutes)
    idle, busy, speeds = list[float](), list[float](), list[float]()
    for _ in range(options.turns):  # in turns, as other programs change the times too
        idle += latencies(server, options.seconds, options.connections)
        path = client.post("/v1/jobs", content=recording).headers["location"]
        busy += latencies(server, options.seconds, options.connections)
        job = client.get(path).json()
        assert job["status"] == "running", "the job has ended: give more --minutes"
        speeds.append(job["progress"]["seconds_done"] / options.seconds)
        client.request("DELETE", path)
    idle_p99, busy_p99 = show("without a job", idle), show("while one runs", busy)
    print(f"p99 ratio: {busy_p99 / idle_p99:.2f}; the job at {np.median(speeds):.0f} x real time")
    print(f"memory: {memory_mb(pid, 'VmRSS')} MB, at most {memory_mb(pid, 'VmHWM')} MB")
    path = client.post("/v1/jobs", content=recording).headers["location"]
    started = time.monotonic()
    while client.get(path).json()["status"] not in ("done", "failed"):
        time.sleep(0.5)
    print(f"alone: {options.minutes} minutes in {time.monotonic() - started:.1f} s")
    print(f"memory at most: {memory_mb(pid, 'VmHWM')} MB")


if __name__ == "__main__":
    main()
