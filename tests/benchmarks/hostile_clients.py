"""What a well-behaved client notices of hostile ones: its latency, and the worker's memory.

    uv run --group dev python -m tests.benchmarks.hostile_clients

One worker with ``digits-small``; one client uploads all the time. Beside it, in turn: nobody, a
client that sends headers without an end on one connection after another, and 2,000 connections that
send nothing.
"""

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import typer

from earful.models.registry.shipped import SHIPPED_MODELS
from tests.fixtures.raw_http import HOST, RawResponse, open_socket, resident_bytes, send_raw
from tests.fixtures.server import RunningServer, running_server_afresh
from tests.fixtures.synthetic_audio import tone, wav

MEGABYTE = 1_000_000
ENDLESS = b"GET /livez HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 120 * MEGABYTE
N_IDLE = 2_000


def main(seconds: float = 5, rounds: int = 3) -> None:
    """Measure each for SECONDS, ROUNDS times in turn; print medians."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server_afresh(Path(folder), SHIPPED_MODELS["digits-small"]) as server,
    ):
        _latencies_ms(server, 2)
        quiet, headers, idle = [], [], []
        refusals: list[RawResponse] = []
        before = resident_bytes(server.process.pid)
        for _ in range(rounds):
            quiet.append(_latencies_ms(server, seconds))
            with _repeating(lambda: refusals.append(send_raw(server.url, ENDLESS))):
                headers.append(_latencies_ms(server, seconds))
            with _idle_connections(server, N_IDLE):
                idle.append(_latencies_ms(server, seconds))
        after = resident_bytes(server.process.pid)
    for name, runs in (
        ("nobody else", quiet),
        ("endless headers", headers),
        (f"{N_IDLE} idle connections", idle),
    ):
        p50, p99 = (
            float(np.median([np.percentile(run, share) for run in runs])) for share in (50, 99)
        )
        print(f"{name:<24} p50 {p50:6.1f} ms   p99 {p99:6.1f} ms   {sum(map(len, runs))} uploads")
    slowest = max(refusal.seconds for refusal in refusals)
    statuses = sorted({refusal.status for refusal in refusals})
    print(f"{len(refusals)} times endless headers: {statuses}, the slowest after {slowest:.3f} s")
    print(
        f"memory of the worker: {before / MEGABYTE:.0f} MB before, {after / MEGABYTE:.0f} MB after"
    )


def _latencies_ms(server: RunningServer, seconds: float) -> list[float]:
    """The times of uploads, one after another; each must be answered."""
    upload, latencies = wav(tone("mid")), []
    end = time.monotonic() + seconds
    with server.client() as client:
        while (started := time.monotonic()) < end:
            _post(client, upload)
            latencies.append((time.monotonic() - started) * 1000)
    return latencies


def _post(client: httpx.Client, upload: bytes) -> None:
    """Upload on a kept connection; one that was closed while idle is opened again."""
    try:
        response = client.post("/v1/classify", content=upload)
    except httpx.RemoteProtocolError:
        response = client.post("/v1/classify", content=upload)
    response.raise_for_status()


@contextlib.contextmanager
def _repeating(action: Callable[[], object]) -> Iterator[None]:
    """Repeat an action in a thread while the context is open."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            action()
            stop.wait(0.05)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@contextlib.contextmanager
def _idle_connections(server: RunningServer, count: int) -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(open_socket(server.url))
        yield


if __name__ == "__main__":
    typer.run(main)
