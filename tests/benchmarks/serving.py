"""Throughput and latency of Earful with `digits-small` beside other servers, in one run.

    uv run --group dev --with litserve python tests/benchmarks/serving.py

Needs wrk (Debian: apt install wrk) and two cores. An 8.6 kB WAV is uploaded over 16 connections.
"""

import os
import platform
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import soundfile
import typer

from earful.models.registry.find_model import find_model

ROOT = Path(__file__).parents[2]
CONNECTIONS, BOUNDARY = 16, "earfulbenchmark"
SAMPLES = 4_278  # a WAV of 8,600 bytes

SCRIPT = """
local file = io.open("{path}", "rb")
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "{media_type}"
"""


@dataclass(frozen=True)
class ServerTiming:
    """Throughput and latency of a server, measured by wrk."""

    requests_per_second: float
    p50_ms: float
    p99_ms: float


def main(seconds: int = 5, rounds: int = 3) -> None:
    """Load each server ROUNDS times for SECONDS, alternating; print medians."""
    if shutil.which("wrk") is None:
        sys.exit("wrk is missing; Debian: apt install wrk")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model = find_model("digits-small")
        form, raw = _write_scripts(folder)
        servers = {
            "earful, 2 workers": (_earful(model, 2), form),
            "earful, 2 workers, raw body": (_earful(model, 2), raw),
            "earful, 1 worker": (_earful(model, 1), form),
            "LitServe, 1 worker": (_script("litserve_server.py"), form),
            "bare FastAPI handler, 1 process": (_uvicorn("bare_handler"), form),
            "FastAPI and librosa MFCC, 2 processes": (_uvicorn("librosa_handler", 2), form),
            "no-op handler, 2 processes": (_uvicorn("no_op_handler", 2), raw),
        }
        os.environ["BENCHMARK_MODEL"] = str(model)
        timings: dict[str, list[ServerTiming]] = {server: [] for server in servers}
        for _ in range(rounds):
            for server, (command, script) in servers.items():
                with _running(command) as url:
                    _upload(url, folder / "a.wav")
                    _load(url, script, 2)  # warm-up
                    timings[server].append(_load(url, script, seconds))
    _print(timings)


def _print(timings: dict[str, list[ServerTiming]]) -> None:
    median = {
        server: sorted(runs, key=lambda run: run.requests_per_second)[len(runs) // 2]
        for server, runs in timings.items()
    }
    print(f"{os.cpu_count()} cores, {platform.processor() or platform.machine()}; medians")
    for server, run in median.items():
        print(
            f"{server:<38} {run.requests_per_second:8.0f} requests/s   p50 {run.p50_ms:6.1f} ms   "
            f"p99 {run.p99_ms:6.1f} ms ({run.p99_ms / run.p50_ms:.1f})"
        )
    form, raw, one, litserve, bare, librosa, no_op = (
        run.requests_per_second for run in median.values()
    )
    print(
        f"to LitServe {form / litserve:.2f}, with one worker {one / litserve:.2f}, to the bare "
        f"handler {one / bare:.2f}, to librosa {form / librosa:.1f}, raw to no-op {raw / no_op:.2f}"
    )


def _write_scripts(folder: Path) -> tuple[Path, Path]:
    """Scripts for wrk: upload as a multipart form and as a raw body."""
    wav, form = folder / "a.wav", folder / "form"
    noise = np.random.default_rng(0).standard_normal(SAMPLES) * 0.1
    soundfile.write(wav, noise, 8_000, subtype="PCM_16")
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
    kind = "Content-Type: audio/wav\r\n\r\n"
    form.write_bytes((head + kind).encode() + wav.read_bytes() + f"\r\n--{BOUNDARY}--\r\n".encode())
    scripts = {}
    for body, media_type in (
        (form, f"multipart/form-data; boundary={BOUNDARY}"),
        (wav, "audio/wav"),
    ):
        scripts[body] = folder / f"{body.name}.lua"
        scripts[body].write_text(SCRIPT.format(path=body, media_type=media_type))
    return scripts[form], scripts[wav]


def _earful(model: Path, workers: int) -> list[str]:
    serve = ["serve", "--model", str(model), "--workers", str(workers), "--port", "{port}"]
    return [sys.executable, "-m", "earful.training.cli", *serve]


def _uvicorn(name: str, workers: int = 1) -> list[str]:
    app = f"tests.benchmarks.servers.{name}:app"
    options = ["--log-level", "warning", "--port", "{port}", "--workers", str(workers)]
    return [sys.executable, "-m", "uvicorn", app, *options]


def _script(name: str) -> list[str]:
    return [sys.executable, str(Path(__file__).parent / "servers" / name), "{port}"]


@contextmanager
def _running(command: Sequence[str]) -> Iterator[str]:
    """Run a server on a free port in its own process group; yields once it responds."""
    port = _free_port()
    arguments = [part.format(port=port) for part in command]
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(
            arguments, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        ) as process,
    ):
        url = f"http://127.0.0.1:{port}/v1/classify"
        try:
            _wait_for(url, process)
            yield url
        except TimeoutError:
            log.seek(0)
            sys.exit(f"{arguments} does not respond:\n{log.read().decode()[-2000:]}")
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def _wait_for(url: str, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(600):
        time.sleep(0.1)
        try:
            httpx.get(url, timeout=1, trust_env=False)
        except httpx.TransportError:
            if process.poll() is not None:
                break
        else:
            return  # any response, also an error status, means it is listening
    raise TimeoutError


def _upload(url: str, wav: Path) -> None:
    """Upload a file to warm up; librosa compiles its functions on first use."""
    with httpx.Client(timeout=120, trust_env=False) as client:
        for _ in range(4):  # likely reaches every worker
            client.post(url, files={"file": ("a.wav", wav.read_bytes())}).raise_for_status()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def _load(url: str, script: Path, seconds: int) -> ServerTiming:
    options = ["-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "--latency", "-s", str(script)]
    command = ["wrk", *options, url]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in text:
        sys.exit(f"{url} refused requests:\n{text}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", text)
    assert rate, text
    return ServerTiming(float(rate[1]), _latency(text, "50%"), _latency(text, "99%"))


def _latency(text: str, share: str) -> float:
    match = re.search(rf"{share}\s+([\d.]+)(us|ms|s)\b", text)
    assert match, text
    return float(match[1]) * {"us": 0.001, "ms": 1.0, "s": 1000.0}[match[2]]


if __name__ == "__main__":
    typer.run(main)
