"""``POST /v1/classify``: files to labels and events.

    read_upload -> MicroBatcher.submit -> decode_to_windows -> Classifier.predict_windows
                -> to_response                                         a file of up to 1.5 clips
    read_upload -> LongRecordings.classify -> detect_events -> MicroBatcher.background
                -> Classifier.predict_windows -> to_response           longer, or damaged

The batcher decodes behind its queue: what it refuses, or drops at its deadline, is never decoded.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

from fastapi import FastAPI, Request
from fastapi.responses import Response

from earful.data.audio.containers import is_accepted, strip_id3_tag
from earful.data.audio.decode import AudioError
from earful.service.classifier import MAX_FILE_CLIPS, Classifier, Prediction
from earful.service.core.errors import RequestError, error_response, json_response, malformed
from earful.service.events import Event
from earful.service.http.app_state import Service, disconnect_waiter, file_result
from earful.service.http.query_parameters import check_known
from earful.service.http.schemas import (
    CLASSIFY_PARAMETERS,
    UPLOAD_BODY,
    ClassifyResponse,
    ErrorResponse,
    openapi_responses,
)
from earful.service.http.upload_budget import Content
from earful.service.inference.hot_reload import LoadedModel
from earful.service.inference.job_queue import InferenceOutcome, LongWaveform
from earful.service.inference.recording import Source
from earful.service.inference.recording_analysis import RecordingOutcome, whole_event

T = TypeVar("T")
# Of a file with such an error nothing can be read, so it has no events either.
_UNREADABLE = ("empty_audio", "bad_sample_rate", "too_many_channels", "too_large")


@dataclass(frozen=True)
class ClassifyParameters:
    """Query parameters: whether results have windows, and how many scores."""

    windows: bool = False
    top_k: int | None = None

    @classmethod
    def parse(cls, query: bytes) -> "ClassifyParameters":
        """Parameters of a query string.

        Raises:
            RequestError: ``unknown_parameter`` or ``malformed_request``.
        """
        if not query:
            return _DEFAULTS
        values: dict[str, Any] = {}
        for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
            check_known([name], _PARSERS)
            if name in values:
                raise malformed(f"{name} is given twice")
            values[name] = _PARSERS[name](name, value)
        return cls(**values)


_DEFAULTS = ClassifyParameters()


def add_classify_route(app: FastAPI, service: Service) -> Callable[[Request], Awaitable[Response]]:
    """Add the route and return its handler, which ``Dispatcher`` calls directly."""

    @app.post(
        "/v1/classify",
        summary="Classify one file or many",
        openapi_extra=UPLOAD_BODY | CLASSIFY_PARAMETERS,
        responses=openapi_responses(ClassifyResponse, ErrorResponse),
    )
    async def classify(request: Request) -> Response:
        deadline = service.deadline()
        loaded_model = service.admit(request.headers, "classify")
        parameters = ClassifyParameters.parse(request.scope["query_string"])
        with service.open_body(request, deadline) as body:
            files = await body.read_upload()
            if body.temporary_files:  # they took their time to arrive
                deadline = service.deadline()
            contents = [content for _, content in files]
            recordings = await _classify_files(
                service, loaded_model, deadline, request, contents, windows=parameters.windows
            )
            outcomes = [recording.outcome for recording in recordings]
            service.count_rejected(outcomes)
            results = [
                file_result(
                    name,
                    recording.outcome,
                    _events(recording, loaded_model.classifier),
                    windows=parameters.windows,
                    top_k=parameters.top_k,
                )
                for (name, _), recording in zip(files, recordings, strict=True)
            ]
            if service.feedback is not None:
                await service.feedback.add_prediction_ids(results, contents, outcomes, loaded_model)
        return to_response(request, results, loaded_model)

    return classify


def to_response(
    request: Request, results: Sequence[dict[str, Any]], loaded_model: LoadedModel
) -> Response:
    """The results of all files; an error response if each is an error, with the first one's."""
    if all("error" in result for result in results):
        first = results[0]["error"]
        return error_response(first["code"], first["message"], results=results)
    request.state.request_log.log_fields = {
        "files": len(results),
        "model": loaded_model.info["version"],
    }
    return json_response({"model": loaded_model.info, "results": results})


async def _classify_files(
    service: Service,
    loaded_model: LoadedModel,
    deadline: float,
    request: Request,
    contents: Sequence[Content],
    *,
    windows: bool,
) -> list[RecordingOutcome]:
    """The outcome of each file: short ones through the micro-batcher, others block by block.

    Raises:
        RequestError: the request cannot be answered.
    """
    classifier, long_recordings = loaded_model.classifier, service.long_recordings
    blobs = [content for content in contents if isinstance(content, bytes)]
    answers: Iterator[InferenceOutcome] = iter(())
    if blobs:
        max_samples = int(MAX_FILE_CLIPS * classifier.clip_samples)
        disconnected = disconnect_waiter(request)
        answers = iter(
            await service.batcher.submit(
                blobs, classifier, deadline, disconnected, windows=windows, max_samples=max_samples
            )
        )
    sources = [
        _long_source(content, next(answers)) if isinstance(content, bytes) else content
        for content in contents
    ]
    work = [
        long_recordings.classify(source, classifier, deadline, windows=windows)
        for source in sources
        if not isinstance(source, RecordingOutcome)
    ]
    long = iter(await _unless_disconnected(request, work) if work else ())
    return [s if isinstance(s, RecordingOutcome) else next(long) for s in sources]


def _events(recording: RecordingOutcome, classifier: Classifier) -> Sequence[Event] | None:
    """The events of a recording; one of up to ``MAX_FILE_CLIPS`` is one event or none."""
    if recording.events is None and isinstance(recording.outcome, Prediction):
        return whole_event(classifier, recording.outcome)
    return recording.events


def _long_source(blob: bytes, outcome: InferenceOutcome) -> Source | RecordingOutcome:
    """The outcome of a file in memory, or what is read again block by block.

    That is a file that is longer than ``MAX_FILE_CLIPS``, or damaged: it may have events before the
    damage.
    """
    if isinstance(outcome, LongWaveform):
        return outcome.waveform
    readable = (
        isinstance(outcome, AudioError)
        and outcome.code not in _UNREADABLE
        and is_accepted(strip_id3_tag(blob))
    )
    return blob if readable else RecordingOutcome(outcome, None)


async def _unless_disconnected(request: Request, work: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of ``work``, which is cancelled when the client disconnects.

    Raises:
        RequestError: ``client_disconnected``.
    """
    results = asyncio.gather(*work)
    waiters: list[asyncio.Future[Any]] = [
        results,
        asyncio.ensure_future(disconnect_waiter(request)()),
    ]
    try:
        await asyncio.wait(waiters, return_when=asyncio.FIRST_COMPLETED)
        if not results.done():
            raise RequestError("client_disconnected", "the client disconnected")
        return await results
    finally:
        for waiter in waiters:
            waiter.cancel()
        await asyncio.gather(*waiters, return_exceptions=True)  # else asyncio logs a traceback


def _parse_flag(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise malformed(f"{name} must be true or false, found {value[:80]!r}")
    return value == "true"


def _parse_count(name: str, value: str) -> int:
    if not re.fullmatch("[0-9]{1,9}", value) or int(value) == 0:
        raise malformed(f"{name} must be a whole number from 1 on, found {value[:80]!r}")
    return int(value)


_PARSERS: dict[str, Callable[[str, str], bool | int]] = {
    "windows": _parse_flag,
    "top_k": _parse_count,
}
