"""Overhead of feedback: prediction ids, classify requests with and without it, storing a label.

uv run python tests/benchmarks/feedback.py [--database postgresql+psycopg://...]
"""

import asyncio
import hashlib
import sys
import tempfile
import time
import timeit
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).parents[2]))
from earful.models.registry.shipped import SHIPPED_MODEL
from earful.service.core.settings import Settings
from earful.service.feedback.database import open_database
from earful.service.feedback.database_url import DatabaseAddress
from earful.service.feedback.prediction_ids import PredictionIds
from earful.service.feedback.records import FeedbackAnnotation
from earful.service.http.dispatch import Dispatcher
from earful.service.server.app import create_app
from tests.fixtures.feedback import add_in_transaction
from tests.fixtures.synthetic_audio import noise, wav

UPLOAD = wav(noise(4_278 / 8_000, 0.1))  # 8,600 bytes
REQUESTS, ROUNDS, POSTS = 200, 15, 1000


def main(database: Annotated[str | None, typer.Option()] = None) -> None:
    """Print the best of ROUNDS in CPU time, which other processes affect least."""
    ids = PredictionIds(bytes(32))
    prediction = ("7", 0.997333, "digits", "2bef4f584ced")
    for title, run in (
        ("sign a prediction", lambda: ids.sign(bytes(32), *prediction)),
        ("hash 8.6 kB and sign", lambda: ids.sign(hashlib.sha256(UPLOAD).digest(), *prediction)),
    ):
        seconds = min(timeit.repeat(run, number=2000, repeat=ROUNDS, timer=time.thread_time)) / 2000
        print(f"{title}: {1e6 * seconds:.1f} microseconds")
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(classify(Path(folder)))
        store = open_database(DatabaseAddress.parse(database or f"sqlite:///{folder}/posts.db"))
        started = time.perf_counter()
        for n in range(POSTS):
            add_in_transaction(store, FeedbackAnnotation("0" * 64, "7", f"{started}-{n}"))
        milliseconds = 1e3 * (time.perf_counter() - started) / POSTS
        print(f"store a label: {milliseconds:.2f} ms ({store.address})")
        store.close()


async def classify(folder: Path) -> None:
    """Time requests to two in-process services, one with feedback, in alternation."""
    url = f"sqlite:///{folder}/feedback.db"
    apps = [create_app(Settings(model=SHIPPED_MODEL, feedback_url=u)) for u in ("off", url)]
    async with apps[0].service.open(), apps[1].service.open():
        cpu_seconds: list[list[float]] = [[], []]
        for _ in range(ROUNDS):
            for app, seconds in zip(apps, cpu_seconds, strict=True):
                started = time.thread_time()
                for _ in range(REQUESTS):
                    await post(app)
                seconds.append((time.thread_time() - started) / REQUESTS)
    off, on = map(min, cpu_seconds)
    print(
        f"event loop time of POST /v1/classify: {1e6 * off:.0f} microseconds without feedback, "
        f"{1e6 * on:.0f} with"
    )


async def post(app: Dispatcher) -> None:
    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/classify",
        "query_string": b"",
        "headers": [(b"content-type", b"audio/wav")],
    }
    sent = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if sent.is_set():
            await asyncio.Event().wait()  # the client stays connected
        sent.set()
        return {"type": "http.request", "body": UPLOAD}

    async def send(message: Any) -> None:
        assert message.get("status", 200) == 200

    await app(scope, receive, send)


if __name__ == "__main__":
    typer.run(main)
