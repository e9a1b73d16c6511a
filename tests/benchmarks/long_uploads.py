"""An hour of audio in one upload: time, memory, and what short uploads notice of it.

    uv run python -m tests.benchmarks.long_uploads --data ../shared [--model MODEL ...]

A server with one worker gets an hour of spoken digits as WAV, FLAC and MP3, and two at once; other
connections upload short files all the time. Their latency is compared with that before it. Memory
is the peak resident set of the worker (Linux).
"""

import argparse
import asyncio
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import soundfile

from earful.data.audio.decode import resample
from earful.models.registry.shipped import SHIPPED_MODEL
from tests.fixtures.server import RunningServer, running_server_afresh

RATE_HZ = 16_000
SMALL_MODEL = SHIPPED_MODEL.with_name("digits-small.onnx")
FORMATS = {"wav": "WAV", "flac": "FLAC", "mp3": "MP3"}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("../shared"))
    parser.add_argument("--model", type=Path, nargs="+", default=[SMALL_MODEL, SHIPPED_MODEL])
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--connections", type=int, default=4, help="that upload short files")
    parser.add_argument("--pause-ms", type=float, default=0, help="between their uploads")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = sorted((arguments.data / "fsdd" / "recordings").glob("*.wav"))
        short = clips[0].read_bytes()
        recordings = {
            form: write_recording(folder / f"hour.{form}", clips, arguments.minutes)
            for form in arguments.formats
        }
        load = (short, arguments.connections, arguments.pause_ms / 1000)
        for model in arguments.model:
            with running_server_afresh(folder, model, "--feedback", "off") as server:
                measure(server, model.stem, recordings, load)


def measure(
    server: RunningServer,
    model: str,
    recordings: dict[str, Path],
    load: tuple[bytes, int, float],
) -> None:
    with short_uploads(server, *load) as latencies:  # warm-up
        time.sleep(2)
    with short_uploads(server, *load) as latencies:
        time.sleep(10)
    alone = np.array(latencies)
    print(
        f"{model:<13} short uploads alone: {quantiles(alone)}; memory {peak_mb(server):.0f} MB",
        flush=True,
    )
    runs: list[tuple[str, list[Path]]] = [(form, [path]) for form, path in recordings.items()]
    runs.append(("two at once", list(recordings.values())[:1] * 2))
    for name, paths in runs:
        seconds, found = upload_all(server, paths)
        print(f"{model:<13} {name:<12} alone: {seconds:6.1f} s, {found} events; ", end="")
        print(f"peak memory {peak_mb(server):.0f} MB", flush=True)
        with short_uploads(server, *load) as latencies:
            seconds, found = upload_all(server, paths)
        during = np.array(latencies)
        ratio = np.quantile(during, 0.99) / np.quantile(alone, 0.99)
        print(
            f"{model:<13} {name:<12} with short uploads: {seconds:6.1f} s; they take "
            f"{quantiles(during)}, p99 {ratio:.2f} times; peak memory {peak_mb(server):.0f} MB",
            flush=True,
        )


def upload_all(server: RunningServer, paths: Sequence[Path]) -> tuple[float, int]:
    """Seconds until all are answered, and their events."""

    def upload(path: Path) -> int:
        with path.open("rb") as file, server.client() as client:
            answer = client.post("/v1/classify", content=file, timeout=1800).raise_for_status()
        return len(answer.json()["results"][0]["events"])

    started = time.monotonic()
    with ThreadPoolExecutor() as pool:
        found = sum(pool.map(upload, paths))
    return time.monotonic() - started, found


@contextmanager
def short_uploads(
    server: RunningServer, content: bytes, connections: int, pause_seconds: float
) -> Iterator[list[float]]:
    """The latencies of short uploads, repeated on each connection until the context ends."""
    latencies: list[float] = []
    stop = threading.Event()
    port = int(server.url.rpartition(":")[2])
    head = f"POST /v1/classify HTTP/1.1\r\nHost: x\r\nContent-Length: {len(content)}\r\n\r\n"
    request = head.encode() + content

    async def upload_repeatedly() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while not stop.is_set():
            started = time.perf_counter()
            writer.write(request)
            answer = await reader.readuntil(b"\r\n\r\n")
            assert b" 200 " in answer[:20], answer
            [length] = [int(x[15:]) for x in answer.lower().split(b"\r\n") if b"content-len" in x]
            await reader.readexactly(length)
            latencies.append(time.perf_counter() - started)
            await asyncio.sleep(pause_seconds)
        writer.close()

    async def run() -> None:
        await asyncio.gather(*(upload_repeatedly() for _ in range(connections)))

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        yield latencies
    finally:
        stop.set()
        thread.join()


def quantiles(latencies: np.ndarray) -> str:
    p50, p99 = 1000 * np.quantile(latencies, [0.5, 0.99])
    return f"p50 {p50:.1f} ms, p99 {p99:.1f} ms ({len(latencies)})"


def peak_mb(server: RunningServer) -> float:
    """Peak resident memory of the server (Linux)."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    [kilobytes] = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
    return int(kilobytes) / 1024


def write_recording(path: Path, clips: Sequence[Path], minutes: float) -> Path:
    """Spoken digits with pauses of 0.4 to 2.5 s, ten minutes repeated."""
    generator = np.random.default_rng(0)
    parts: list[np.ndarray] = []
    seconds = 0.0
    while seconds < min(600.0, 60 * minutes):
        sound, rate_hz = soundfile.read(generator.choice(clips), dtype="float32")
        pause = np.zeros(round(RATE_HZ * generator.uniform(0.4, 2.5)), np.float32)
        parts += [pause, resample(sound, rate_hz, RATE_HZ)]
        seconds += sum(map(len, parts[-2:])) / RATE_HZ
    piece = np.concatenate(parts)
    piece += 1e-4 * generator.standard_normal(len(piece)).astype(np.float32)
    left = round(60 * minutes * RATE_HZ)
    with soundfile.SoundFile(path, "w", RATE_HZ, 1, format=FORMATS[path.suffix[1:]]) as file:
        while left > 0:
            file.write(piece[:left])
            left -= len(piece)
    return path


if __name__ == "__main__":
    main()
