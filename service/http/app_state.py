"""What the routes of a running service share: its model, queue, limits, keys and counters."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request

from earful.data.audio.decode import Waveform
from earful.service.classifier import Prediction
from earful.service.core.auth import ApiKeys, Scope
from earful.service.core.errors import RequestError
from earful.service.core.metrics import Metrics
from earful.service.core.settings import Settings
from earful.service.feedback.feedback_service import Desk, open_desk
from earful.service.http.uploads import Intake
from earful.service.inference.hot_reload import ModelHost, Served
from earful.service.inference.job_queue import Answer
from earful.service.inference.micro_batcher import MicroBatcher

SCORE_DIGITS = 6


class Service:
    """One service; ``open`` it on the event loop. ``draining`` says that it is about to end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.keys: ApiKeys = settings.keys()
        self.host = ModelHost(settings.source(), settings.device, settings.reject, self.metrics)
        self.batcher = MicroBatcher(settings.limits(), settings.max_queue, self.metrics)
        self.intake = Intake(settings)
        self.feedback: Desk | None = None
        self.draining = False
        self.open_streams = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Load the model, serve, and at the end answer what is queued.

        Raises:
            ModelError: the model cannot be used.
            FeedbackError: the database of feedback that was asked for cannot be used.
        """
        await self.host.load()
        self.feedback = await open_desk(self.settings, self.metrics)
        self.batcher.start()
        watch = asyncio.create_task(self.host.watch())
        try:
            yield
        finally:
            self.draining = True
            watch.cancel()
            await self.batcher.stop()
            if self.feedback is not None:
                await self.feedback.close()
            self.host.current = None

    def served(self) -> Served:
        """The model that answers now.

        Raises:
            RequestError: ``not_ready``.
        """
        if self.host.current is None:
            raise RequestError("not_ready", "no model is loaded; try again shortly")
        return self.host.current

    def ready(self) -> Served:
        """The model, where more requests may be sent here.

        Raises:
            RequestError: ``draining`` or ``not_ready``.
        """
        if self.draining:
            raise RequestError("draining", "the service is about to end; ask another one")
        return self.served()

    def admit(self, headers: Headers, scope: Scope) -> Served:
        """The model for a request that may be made now.

        Raises:
            RequestError: no key for it, no model, or no room in the queue.
        """
        self.keys.check(headers, scope)
        served = self.served()
        self.batcher.check_room()
        return served

    def deadline(self) -> float:
        """When a request that begins now must be answered, as a time of ``time.monotonic``."""
        return time.monotonic() + self.settings.deadline_seconds

    async def answer(
        self,
        sources: Sequence[bytes | Waveform],
        served: Served,
        deadline: float,
        request: Request | None = None,
    ) -> list[Answer]:
        """An answer for each file or waveform; given up when the request's sender leaves.

        Raises:
            RequestError: ``queue_full`` or ``deadline_passed``.
        """
        gone = None if request is None else _disconnection(request)
        answers = await self.batcher.submit(sources, served.classifier, deadline, gone)
        for answer in answers:
            if not isinstance(answer, Prediction):
                self.metrics.rejected.labels(answer.code).inc()
        return answers


def describe(filename: str, answer: Answer) -> dict[str, Any]:
    """One file's answer as JSON: what was heard, or its error."""
    if not isinstance(answer, Prediction):
        return {"filename": filename, "error": {"code": answer.code, "message": str(answer)}}
    return {
        "filename": filename,
        "seconds": round(answer.seconds, 6),
        "label": answer.label,
        "score": round(answer.score, SCORE_DIGITS),
        "scores": listed(answer.ranked()),
        "windows": [
            {
                "start": round(window.start_seconds, 6),
                "end": round(window.end_seconds, 6),
                "label": window.label,
                "score": round(window.score, SCORE_DIGITS),
            }
            for window in answer.windows
        ],
    }


def listed(ranked: Sequence[tuple[str, float]]) -> list[dict[str, Any]]:
    """Labels with their scores as JSON."""
    return [{"label": label, "score": round(score, SCORE_DIGITS)} for label, score in ranked]


def _disconnection(request: Request) -> Callable[[], Awaitable[None]]:
    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return gone
