"""State that the routes of a running service share: model, queue, limits, keys and metrics."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import Request

from earful.data.audio.decode import Waveform
from earful.service.classifier import Prediction
from earful.service.core.auth import ApiKeys, Scope
from earful.service.core.defaults import SCORE_DIGITS
from earful.service.core.errors import RequestError
from earful.service.core.metrics import ServiceMetrics
from earful.service.core.result_json import event_json, label_scores, window_json
from earful.service.core.settings import SHUTDOWN_TIMEOUT_SECONDS, Settings
from earful.service.events import Event
from earful.service.feedback.feedback_service import FeedbackService, open_feedback_service
from earful.service.http.request_body import RequestBody
from earful.service.http.upload_budget import UploadBudget
from earful.service.inference.hot_reload import LoadedModel, ModelReloader
from earful.service.inference.job_queue import InferenceOutcome
from earful.service.inference.long_recordings import LongRecordings
from earful.service.inference.micro_batcher import MicroBatcher
from earful.service.jobs.job_service import JobService, open_job_service
from earful.service.jobs.runner_context import RunnerContext


class Service:
    """One service; ``open`` it on the event loop.

    ``draining`` is set while it shuts down, ``start_failure`` to a sentence if it did not open.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = ServiceMetrics()
        self.keys: ApiKeys = settings.keys()
        self.model_reloader = ModelReloader(
            settings.model_source(), settings.device, settings.reject, self.metrics
        )
        self.batcher = MicroBatcher(settings.memory_limits(), settings.max_queue, self.metrics)
        self.long_recordings = LongRecordings(settings, self.batcher)
        self.upload_budget = UploadBudget(settings)
        self.feedback: FeedbackService | None = None
        self.jobs: JobService | None = None
        self.draining = False
        self.start_failure: str | None = None
        self.open_streams = 0

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Load the model, serve while the context is open, then finish queued files.

        Raises:
            ModelError: the model cannot be used.
            FeedbackError: the configured feedback database cannot be used.
            JobsError: the configured folder of jobs cannot be used.
        """
        await self.model_reloader.load()
        self.feedback = await open_feedback_service(self.settings, self.metrics)
        self.jobs = await asyncio.to_thread(open_job_service, self.settings, self.feedback)
        self.batcher.start()
        if self.jobs is not None:
            self.jobs.start(self._runner_context(self.jobs), self.settings.jobs_per_worker)
        self.model_reloader.watcher.start()
        try:
            yield
        finally:
            self.draining = True
            self.model_reloader.watcher.stop()
            self.long_recordings.close()
            if self.jobs is not None:  # before the batcher, whose scores they wait for
                await self.jobs.close()
            await self.batcher.stop()
            if self.feedback is not None:
                await self.feedback.close()
            self.model_reloader.current = None

    def drain_long_recordings(self, wait_seconds: float) -> None:
        """Accept no more of them, and end those that would not end before the shutdown."""
        self.long_recordings.refuse()
        asyncio.get_running_loop().call_later(
            wait_seconds + 0.75 * SHUTDOWN_TIMEOUT_SECONDS, self.long_recordings.stop
        )

    def _runner_context(self, jobs: JobService) -> RunnerContext:
        return RunnerContext(
            folder=jobs.folder,
            database=jobs.database,
            loaded_model=self.loaded_model,
            score_windows=self.batcher.background.run,
            is_busy=lambda: self.batcher.is_busy,
            is_draining=lambda: self.draining,
            audio_limits=self.settings.job_audio_limits(),
            retention=jobs.limits.retention,
            metrics=self.metrics,
        )

    def loaded_model(self) -> LoadedModel:
        """The served model.

        Raises:
            RequestError: ``not_ready``.
        """
        if self.model_reloader.current is None:
            raise RequestError("not_ready", "no model is loaded; try again shortly")
        return self.model_reloader.current

    def ready(self) -> LoadedModel:
        """The served model, if this instance accepts more requests.

        Raises:
            RequestError: ``draining`` or ``not_ready``.
        """
        if self.draining:
            raise RequestError("draining", "the service is shutting down; use another instance")
        return self.loaded_model()

    def admit(self, headers: Headers, scope: Scope) -> LoadedModel:
        """Check that a request may be made now, and return the served model.

        Raises:
            RequestError: ``unauthorized``, ``forbidden``, ``not_ready``, ``draining`` or
                ``queue_full``.
        """
        self.keys.check(headers, scope)
        loaded_model = self.loaded_model()
        self.batcher.check_capacity()
        return loaded_model

    def deadline(self) -> float:
        """The deadline of a request that starts now, as a time of ``time.monotonic``."""
        return time.monotonic() + self.settings.deadline_seconds

    def open_body(self, request: Request, deadline: float) -> RequestBody:
        """The body of a request, as a context; it must arrive by ``deadline``."""
        return RequestBody(request, self.settings, self.upload_budget, deadline)

    async def classify(
        self,
        sources: Sequence[bytes | Waveform],
        loaded_model: LoadedModel,
        deadline: float,
        request: Request | None = None,
    ) -> list[InferenceOutcome]:
        """A prediction or error for each file or waveform (samples,).

        With ``request``, the work is cancelled when its client disconnects.

        Raises:
            RequestError: ``queue_full``, ``draining``, ``deadline_passed`` or
                ``client_disconnected``.
        """
        disconnected = None if request is None else disconnect_waiter(request)
        outcomes = await self.batcher.submit(
            sources, loaded_model.classifier, deadline, disconnected
        )
        self.count_rejected(outcomes)
        return outcomes

    async def predict(
        self,
        sources: Sequence[bytes | Waveform],
        loaded_model: LoadedModel,
        deadline: float,
        request: Request | None = None,
    ) -> list[Prediction]:
        """``classify`` for requests that fail with any of their files.

        Raises:
            AudioError: a file cannot be decoded.
            RequestError: the model fails on a file, and as from ``classify``.
        """
        outcomes = await self.classify(sources, loaded_model, deadline, request)
        predictions = []
        for outcome in outcomes:
            if not isinstance(outcome, Prediction):
                raise outcome
            predictions.append(outcome)
        return predictions

    def count_rejected(self, outcomes: Iterable[InferenceOutcome]) -> None:
        """Count the files that have no prediction in the metrics."""
        for outcome in outcomes:
            if not isinstance(outcome, Prediction):
                self.metrics.rejected.labels(outcome.code).inc()


def file_result(
    filename: str,
    outcome: InferenceOutcome,
    events: Sequence[Event] | None = None,
    *,
    windows: bool = False,
    top_k: int | None = None,
) -> dict[str, Any]:
    """The result of one file as JSON: its prediction or its error, and its events."""
    listed = {} if events is None else {"events": [event_json(event) for event in events]}
    if not isinstance(outcome, Prediction):
        error = {"code": outcome.code, "message": str(outcome)}
        return {"filename": filename, "error": error, **listed}
    result = {
        "filename": filename,
        "seconds": round(outcome.seconds, 6),
        "label": outcome.label,
        "score": round(outcome.score, SCORE_DIGITS),
        "scores": label_scores(outcome.ranked()[:top_k]),
        **listed,
    }
    if windows:
        result["windows"] = [window_json(window) for window in outcome.windows]
    return result


def disconnect_waiter(request: Request) -> Callable[[], Awaitable[None]]:
    """A function that returns when the client of a request, whose body is read, disconnects."""

    async def disconnected() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    return disconnected
