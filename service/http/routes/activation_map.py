"""``POST /v1/activation-map``: which part of a recording the model's label comes from.

    curl -F file=@seven.wav 'localhost:8000/v1/activation-map?label=7'

Maps are computed one at a time, beside the batches of ``/v1/classify``.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from earful.models.bundle.metadata import ModelError
from earful.service.classifier import Classifier, InferenceError
from earful.service.core.defaults import SCORE_DIGITS
from earful.service.core.errors import RequestError, json_response
from earful.service.http.app_state import Service
from earful.service.http.multipart_form import UPLOAD_NAME
from earful.service.http.request_body import RequestBody
from earful.service.http.schemas import (
    UPLOAD_BODY,
    ActivationMapResponse,
    ErrorResponse,
    openapi_responses,
)
from earful.service.inference.activation_map import ActivationMap, locate_label, to_rows

MAX_WAITING = 16


def add_activation_map_route(app: FastAPI, service: Service) -> None:
    queue, limits = _Queue(), service.settings.memory_limits()

    @app.post(
        "/v1/activation-map",
        summary="Where in a recording the model heard a label",
        openapi_extra=UPLOAD_BODY,
        responses=openapi_responses(ActivationMapResponse, ErrorResponse),
    )
    async def activation_map(
        request: Request,
        label: Annotated[
            str | None, Query(description="that with the highest score, if not given")
        ] = None,
    ) -> Response:
        deadline = service.deadline()
        loaded_model = service.admit(request.headers, "classify")
        classifier = loaded_model.classifier
        _check_label(label, classifier)
        with service.open_body(request, deadline) as body:
            name, blob = await _only_file(body, limits.max_bytes)

            def compute() -> ActivationMap:
                return locate_label(classifier, classifier.decode(blob, limits).waveform, label)

            async with queue.turn(deadline):
                try:
                    located = await run_in_threadpool(compute)
                except (InferenceError, ModelError) as error:
                    raise RequestError("inference_failed", "the model has no map of it") from error
        return json_response({"model": loaded_model.info, "filename": name, **_to_json(located)})


async def _only_file(body: RequestBody, max_bytes: int) -> tuple[str, bytes]:
    """(filename, bytes) of the one file of a form, or of the raw body."""
    if not body.is_form:
        return UPLOAD_NAME, await body.read_all(max_bytes)
    files, _ = await body.form()
    if not files:
        raise RequestError("no_file", "the form holds no file; send one in the field 'file'")
    if len(files) > 1:
        raise RequestError("too_many_files", "a map is of one file; send one")
    return files[0]


class _Queue:
    """Lets one request at a time compute, and bounds those that wait."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._waiting = 0

    @asynccontextmanager
    async def turn(self, deadline: float) -> AsyncIterator[None]:
        """Wait until it is this request's turn, at most to ``deadline`` (of ``time.monotonic``).

        Raises:
            RequestError: ``queue_full`` or ``deadline_passed``.
        """
        if self._waiting >= MAX_WAITING:
            raise RequestError(
                "queue_full", "too many maps are waiting; try again in 1 s", {"Retry-After": "1"}
            )
        self._waiting += 1
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self._lock.acquire()
        except TimeoutError as error:
            raise RequestError("deadline_passed", "other maps took too long; try again") from error
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._lock.release()


def _check_label(label: str | None, classifier: Classifier) -> None:
    if label is not None and label not in classifier.labels:
        raise RequestError(
            "unknown_label",
            f"the model has no label {label[:80]!r}; it has {', '.join(classifier.labels)[:300]}",
        )


def _to_json(located: ActivationMap) -> dict[str, Any]:
    return {
        "label": located.label,
        "score": round(located.score, SCORE_DIGITS),
        "method": located.method,
        "start": round(located.start_seconds, 6),
        "end": round(located.end_seconds, 6),
        "row_edges_hz": [round(hz, 1) for hz in located.row_edges_hz],
        "map": to_rows(located.values),
    }
