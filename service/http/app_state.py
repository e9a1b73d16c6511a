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
from earful.service.core.metrics import ServiceMetrics
from earful.service.core.settings import Settings
from earful.service.feedback.feedback_service import FeedbackService, open_feedback_service
from earful.service.http.uploads import UploadBudget
from earful.service.inference.hot_reload import LoadedModel, ModelReloader
from earful.service.inference.job_queue import InferenceOutcome
from earful.service.inference.micro_batcher import MicroBatcher

SCORE_DIGITS = 6


class Service:
    """One service; ``open`` it on the event loop. ``draining`` says that it is about to end."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = ServiceMetrics()
        self.keys: ApiKeys = settings.keys()
        self.model_reloader = ModelReloader(
            settings.model_source(), settings.device, settings.reject, self.metrics
        )
        self.batcher = MicroBatcher(settings.audio_limits(), settings.max_queue, self.metrics)
        self.upload_budget = UploadBudget(settings)
        self.feedback: FeedbackService | None = None
        self.draining = False
        self.open_streams = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Load the model, serve, and at the end answer what is queued.

        Raises:
            ModelError: the model cannot be used.
            FeedbackError: the database of feedback that was asked for cannot be used.
        """
        await self.model_reloader.load()
        self.feedback = await open_feedback_service(self.settings, self.metrics)
        self.batcher.start()
        watcher = asyncio.create_task(self.model_reloader.watch())
        try:
            yield
        finally:
            self.draining = True
            watcher.cancel()
            await self.batcher.stop()
            if self.feedback is not None:
                await self.feedback.close()
            self.model_reloader.current = None

    def loaded_model(self) -> LoadedModel:
        """The model that answers now.

        Raises:
            RequestError: ``not_ready``.
        """
        if self.model_reloader.current is None:
            raise RequestError("not_ready", "no model is loaded; try again shortly")
        return self.model_reloader.current

    def ready(self) -> LoadedModel:
        """The model, where more requests may be sent here.

        Raises:
            RequestError: ``draining`` or ``not_ready``.
        """
        if self.draining:
            raise RequestError("draining", "the service is about to end; ask another one")
        return self.loaded_model()

    def admit(self, headers: Headers, scope: Scope) -> LoadedModel:
        """The model for a request that may be made now.

        Raises:
            RequestError: no key for it, no model, or no room in the queue.
        """
        self.keys.check(headers, scope)
        loaded_model = self.loaded_model()
        self.batcher.check_capacity()
        return loaded_model

    def deadline(self) -> float:
        """When a request that begins now must be answered, as a time of ``time.monotonic``."""
        return time.monotonic() + self.settings.deadline_seconds

    async def classify(
        self,
        sources: Sequence[bytes | Waveform],
        loaded_model: LoadedModel,
        deadline: float,
        request: Request | None = None,
    ) -> list[InferenceOutcome]:
        """An answer for each file or waveform; given up when the request's sender leaves.

        Raises:
            RequestError: ``queue_full`` or ``deadline_passed``.
        """
        disconnected = None if request is None else _disconnect_waiter(request)
        outcomes = await self.batcher.submit(
            sources, loaded_model.classifier, deadline, disconnected
        )
        for outcome in outcomes:
            if not isinstance(outcome, Prediction):
                self.metrics.rejected.labels(outcome.code).inc()
        return outcomes


def file_result(filename: str, outcome: InferenceOutcome) -> dict[str, Any]:
    """One file's answer as JSON: what was heard, or its error."""
    if not isinstance(outcome, Prediction):
        return {"filename": filename, "error": {"code": outcome.code, "message": str(outcome)}}
    return {
        "filename": filename,
        "seconds": round(outcome.seconds, 6),
        "label": outcome.label,
        "score": round(outcome.score, SCORE_DIGITS),
        "scores": label_scores(outcome.ranked()),
        "windows": [
            {
                "start": round(window.start_seconds, 6),
                "end": round(window.end_seconds, 6),
                "label": window.label,
                "score": round(window.score, SCORE_DIGITS),
            }
            for window in outcome.windows
        ],
    }


def label_scores(ranked: Sequence[tuple[str, float]]) -> list[dict[str, Any]]:
    """Labels with their scores as JSON."""
    return [{"label": label, "score": round(score, SCORE_DIGITS)} for label, score in ranked]


def _disconnect_waiter(request: Request) -> Callable[[], Awaitable[None]]:
    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return disconnected
