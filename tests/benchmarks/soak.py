"""Soak test: mixed load on a real server for minutes, with every response checked.

    uv run python tests/benchmarks/soak.py --minutes 10
    uv run python tests/benchmarks/soak.py --minutes 10 --workers 2 --kill-seconds 30

Concurrently: valid files with known labels, malformed files, slow clients, clients that disconnect,
and a new model file every twenty seconds; with ``--kill-seconds`` a worker is killed (SIGKILL) that
often. Loopback only. Exit code 1 if a response is wrong, or missing while no worker was killed, a
status is a 5xx other than 503 and 504, a killed worker is not replaced, or memory grows by half.
"""

import asyncio
import itertools
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from pathlib import Path

import httpx
import onnx
import typer

sys.path.insert(0, str(Path(__file__).parents[2]))
from earful.service.core.errors import http_status
from tests.fixtures.malformed_audio import MALFORMED_AUDIO
from tests.fixtures.server import RunningServer, running_server_afresh
from tests.fixtures.synthetic_audio import PITCHES_HZ, tone, train_tones, wav

URL = "/v1/classify"
RELOAD_SECONDS, SAMPLE_SECONDS = 20.0, 5.0
# A killed worker must have been replaced by then.
REPLACE_SECONDS = 30.0
MEGABYTE = 1 << 20


class Load:
    """Runs all kinds of clients for some time and records the responses."""

    def __init__(
        self, server: RunningServer, model: Path, seconds: float, workers: int, kill_seconds: float
    ) -> None:
        self._server, self._model = server, model
        self._workers, self._kill_seconds = workers, kill_seconds
        self.kills: list[float] = []
        self._end = time.monotonic() + seconds
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.wrong: list[str] = []
        self.versions: set[str] = set()
        self.memory_mb: list[float] = []

    async def run(self) -> None:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=self._server.url, timeout=60, limits=limits, trust_env=False
        ) as client:
            clients = [self._repeat("valid", self._send_valid(client, n)) for n in range(8)]
            clients += [
                self._repeat("malformed", self._send_malformed(client, n)) for n in range(2)
            ]
            clients += [self._repeat("slow", self._send_slowly(n)) for n in range(4)]
            clients += [self._repeat("disconnected", self._disconnect_early(n)) for n in range(4)]
            background = [self._reload(), self._sample_memory(), self._kill_workers()]
            await asyncio.gather(*clients, *background)

    async def _repeat(self, kind: str, send: Callable[[], Coroutine[None, None, None]]) -> None:
        """Send requests; one that a killed worker had is lost, and no other may be."""
        while self._time_left():
            began = time.monotonic()
            try:
                await send()
            except (httpx.TransportError, OSError, EOFError) as error:
                # A killed worker takes a moment to end where the machine is busy.
                if any(kill > began - 1.0 for kill in self.kills):
                    self.statuses[f"{kind}, cut", 0] += 1
                else:
                    since = began - max(self.kills, default=math.nan)
                    self.wrong.append(f"{kind}: no response {since:.1f} s after a kill: {error!r}")

    def _time_left(self) -> bool:
        return time.monotonic() < self._end

    def _send_valid(
        self, client: httpx.AsyncClient, number: int
    ) -> Callable[[], Coroutine[None, None, None]]:
        """Requests of one or four files whose names contain the expected label."""
        draw, numbers = random.Random(number), itertools.count()

        async def send() -> None:
            labels = draw.choices(list(PITCHES_HZ), k=draw.choice([1, 1, 1, 4]))
            names = [f"{number}-{next(numbers)}-{label}" for label in labels]
            files = [("file", (n, wav(tone(n.rpartition("-")[2])))) for n in names]
            response = await client.post(URL, files=files)
            self.statuses["valid", response.status_code] += 1
            if response.status_code != 200:
                await asyncio.sleep(0.2)
                return
            body = response.json()
            self.versions.add(body["model"]["version"])
            for name, result in zip(names, body["results"], strict=True):
                if result["filename"] != name or result["label"] != name.rpartition("-")[2]:
                    self.wrong.append(f"{name}: unexpected result {result}")

        return send

    def _send_malformed(
        self, client: httpx.AsyncClient, number: int
    ) -> Callable[[], Coroutine[None, None, None]]:
        draw = random.Random(100 + number)

        async def send() -> None:
            name = draw.choice(list(MALFORMED_AUDIO))
            content, code = MALFORMED_AUDIO[name]
            response = await client.post(URL, content=content)
            self.statuses["malformed", response.status_code] += 1
            expected = http_status(code) if code else 200
            if response.status_code not in (expected, 429, 503, 504):
                self.wrong.append(f"{name}: unexpected status {response.status_code}")
            await asyncio.sleep(0.02)

        return send

    def _send_slowly(self, number: int) -> Callable[[], Coroutine[None, None, None]]:
        """Send 1,000 bytes every 0.1 s; every third request stops halfway."""
        content, numbers = wav(tone("mid")), itertools.count(1)

        async def send() -> None:
            count = next(numbers)
            reader, writer = await self._open(len(content))
            size = len(content) if count % 3 else len(content) // 2
            for start in range(0, size, 1_000):
                writer.write(content[start : min(start + 1_000, size)])
                await writer.drain()
                await asyncio.sleep(0.1)
            status = int((await reader.readexactly(12))[-3:])
            self.statuses["slow", status] += 1
            if status not in ((200, 429, 503, 504) if count % 3 else (408,)):
                self.wrong.append(f"slow client {number}: unexpected status {status}")
            writer.close()

        return send

    def _disconnect_early(self, number: int) -> Callable[[], Coroutine[None, None, None]]:
        """Send a long recording and disconnect before the response or in the middle of the body."""
        draw = random.Random(200 + number)
        content = wav(tone("low", seconds=20))

        async def send() -> None:
            _, writer = await self._open(len(content))
            writer.write(content[: draw.choice([len(content), len(content) // 2])])
            await writer.drain()
            await asyncio.sleep(draw.uniform(0, 0.1))
            writer.transport.abort()
            self.statuses["disconnected", 0] += 1
            await asyncio.sleep(0.2)

        return send

    async def _open(self, length: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = self._server.url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(
            f"POST {URL} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n".encode()
        )
        return reader, writer

    async def _reload(self) -> None:
        proto = onnx.load(self._model)
        count = 0
        while self._time_left():
            await asyncio.sleep(RELOAD_SECONDS)
            count += 1
            for prop in proto.metadata_props:
                if prop.key == "earful.created":
                    prop.value = f'"2030-01-01T00:{count // 60:02}:{count % 60:02}+00:00"'
            new = self._model.with_name("new.onnx")
            # Every third file is damaged: the previous model must stay in use.
            blob = proto.SerializeToString()
            new.write_bytes(blob[: -len(blob) // 3] if count % 3 == 0 else blob)
            new.replace(self._model)

    async def _sample_memory(self) -> None:
        while self._time_left():
            await asyncio.sleep(SAMPLE_SECONDS)
            # One that is being replaced has no size.
            sizes = [_resident_bytes(pid) for pid in self._worker_pids()]
            self.memory_mb.append(max(sizes, default=0) / MEGABYTE)

    async def _kill_workers(self) -> None:
        """Kill one worker after the other; each time wait until there are as many as before."""
        draw = random.Random(300)
        while self._kill_seconds and self._time_left():
            await asyncio.sleep(self._kill_seconds)
            victim = draw.choice(self._worker_pids())
            self.kills.append(time.monotonic())
            os.kill(victim, signal.SIGKILL)
            while victim in (pids := self._worker_pids()) or len(pids) < self._workers:
                if time.monotonic() > self.kills[-1] + REPLACE_SECONDS:
                    self.wrong.append(f"worker {victim} was not replaced")
                    return
                await asyncio.sleep(0.1)

    def _worker_pids(self) -> list[int]:
        """The processes that serve: the server's own, with several workers its children."""
        pid = self._server.process.pid
        if self._workers == 1:
            return [pid]
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        return [int(child) for child in children if "spawn_main" in _command_line(child)]


def _command_line(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:  # it has ended
        return ""


def _resident_bytes(pid: int) -> int:
    """Resident memory of a process (Linux)."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
    except OSError:  # it has ended
        return 0


def main(minutes: float = 10.0, workers: int = 1, kill_seconds: float = 0.0) -> None:
    """Run the load and print a summary."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trained, _ = train_tones(folder / "model")
        model = Path(shutil.copy(trained, folder / "served.onnx"))
        settings = {"EARFUL_DEADLINE_SECONDS": "3", "EARFUL_LOG_LEVEL": "error"}
        settings["EARFUL_MAX_SECONDS"] = "60"  # as the malformed files expect
        with running_server_afresh(folder, model, "--workers", workers, **settings) as server:
            load = Load(server, model, 60 * minutes, workers, kill_seconds)
            asyncio.run(load.run())
        log = (folder / "server.log").read_text()
    for (kind, status), count in sorted(load.statuses.items()):
        print(f"{kind:<12} {status:>3} {count:>8}")
    disconnected = load.statuses["disconnected", 0]
    print(f"{load.statuses.total() - disconnected} responses, {disconnected} disconnects")
    warm = load.memory_mb[len(load.memory_mb) // 5 :] or load.memory_mb
    print(f"{len(load.versions)} model versions; {len(load.wrong)} wrong responses")
    print(f"{len(load.kills)} workers killed")
    print(
        f"resident memory after warm-up {warm[0]:.0f} MB, at the end {warm[-1]:.0f} MB, "
        f"at most {max(warm):.0f} MB"
    )
    server_errors = sum(
        n for (_, s), n in load.statuses.items() if s >= 500 and s not in (503, 504)
    )
    for line in load.wrong[:20]:
        print(line)
    has_grown = warm[-1] > 1.5 * warm[0]
    if load.wrong or server_errors or has_grown or "Traceback" in log:
        print(log[-3000:])
        sys.exit(1)


if __name__ == "__main__":
    typer.run(main)
