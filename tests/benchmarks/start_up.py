"""Start-up time of the server and its memory (Linux).

uv run python tests/benchmarks/start_up.py [MODEL]
"""

import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).parents[2]))
from earful.models.registry.find_model import find_model
from tests.fixtures.server import running_server_afresh
from tests.fixtures.synthetic_audio import noise, wav

UPLOADS = 100


def main(model: Annotated[str | None, typer.Argument()] = None, rounds: int = 5) -> None:
    """Print medians over ROUNDS for one and two workers."""
    for workers in (1, 2):
        results = [measure(find_model(model), workers) for _ in range(rounds)]
        seconds, megabytes = (statistics.median(column) for column in zip(*results, strict=True))
        print(
            f"{workers} worker(s): ready after {seconds:.2f} s, {megabytes:.0f} MB per serving "
            "process"
        )


def measure(model: Path, workers: int) -> tuple[float, float]:
    """Seconds until ready, and MB of the largest process after ``UPLOADS`` requests."""
    started = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server_afresh(Path(folder), model, "--workers", workers) as server,
        server.client() as client,
    ):
        seconds = time.perf_counter() - started
        for _ in range(UPLOADS):
            client.post("/v1/classify", content=wav(noise(0.5, 0.1))).raise_for_status()
        pid = str(server.process.pid)
        command = ["ps", "-o", "rss=", "--pid", pid, "--ppid", pid]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return seconds, max(int(kilobytes) for kilobytes in done.stdout.split()) / 1024


if __name__ == "__main__":
    typer.run(main)
