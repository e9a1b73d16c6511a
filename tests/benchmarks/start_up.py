"""From the command to a ready server, and what it then holds in memory (Linux).

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
from tests.fixtures.server import running_server
from tests.fixtures.synthetic_audio import noise, wav

UPLOADS = 100


def main(model: Annotated[str | None, typer.Argument()] = None, rounds: int = 5) -> None:
    """Print medians over ROUNDS for one worker and for two."""
    for workers in (1, 2):
        found = [measure(find_model(model), workers) for _ in range(rounds)]
        seconds, megabytes = (statistics.median(column) for column in zip(*found, strict=True))
        print(
            f"{workers} worker(s): ready after {seconds:.2f} s, a serving process holds "
            f"{megabytes:.0f} MB"
        )


def measure(model: Path, workers: int) -> tuple[float, float]:
    """Seconds to ready, and megabytes of the largest process after some uploads."""
    began = time.perf_counter()
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(Path(folder), model, "--workers", workers) as server,
        server.client() as client,
    ):
        seconds = time.perf_counter() - began
        for _ in range(UPLOADS):
            client.post("/v1/classify", content=wav(noise(0.5, 0.1))).raise_for_status()
        pid = str(server.process.pid)
        listed = subprocess.run(
            ["ps", "-o", "rss=", "--pid", pid, "--ppid", pid],
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip
        return seconds, max(int(kilobytes) for kilobytes in listed.split()) / 1024


if __name__ == "__main__":
    typer.run(main)
