"""Routes of a Label Studio machine-learning backend: pre-labels tasks with the served model.

    POST /predict  POST /setup  POST /webhook  GET /health

Label Studio calls them at the URL given in a project's "Model" settings. Source: label-studio-ml,
api.py. A failed task gets an empty result with the reason; the other tasks are not affected.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, TypeVar

from fastapi import FastAPI, Request
from fastapi.responses import Response

from earful.data.audio.decode import AudioError
from earful.data.text.printable import printable_text
from earful.service.classifier import Prediction
from earful.service.core.defaults import SCORE_DIGITS
from earful.service.core.errors import RequestError, json_response
from earful.service.core.request_log import log
from earful.service.http.app_state import Service
from earful.service.http.schemas import (
    ErrorResponse,
    HealthResponse,
    PredictResponse,
    SetupResponse,
    WebhookResponse,
    json_body,
    openapi_responses,
)
from earful.service.inference.hot_reload import LoadedModel
from earful.service.inference.job_queue import InferenceOutcome
from earful.service.label_studio.label_config import Control, parse_label_config
from earful.service.label_studio.prelabels import control_results
from earful.service.label_studio.requests import (
    MAX_TASKS,
    PredictRequest,
    SetupRequest,
    Task,
    WebhookEvent,
    id_text,
)
from earful.service.label_studio.submitted_labels import store_annotation
from earful.service.label_studio.task_audio import TaskAudio

MODEL_CLASS = "Earful"
MAX_JSON_BYTES = 16 << 20
# Tasks whose audio one request holds in memory at a time.
_TASKS_PER_BATCH = 8
T = TypeVar("T")


def add_label_studio_routes(app: FastAPI, service: Service) -> None:
    audio = TaskAudio(service.settings)

    @app.get(
        "/health",
        summary="Health check for Label Studio",
        responses=openapi_responses(HealthResponse, ErrorResponse),
    )
    async def health() -> Response:
        service.ready()
        return json_response({"status": "UP", "model_class": MODEL_CLASS})

    @app.post(
        "/setup",
        summary="Connect a Label Studio project",
        openapi_extra=json_body(SetupRequest),
        responses=openapi_responses(SetupResponse, ErrorResponse),
    )
    async def setup(request: Request) -> Response:
        loaded_model = service.admit(request.headers, "classify")
        body = await _read(service, request, SetupRequest, service.deadline())
        controls = parse_label_config(body.label_config, loaded_model.classifier.labels)
        log_fields = {
            "project": id_text(body.project),
            "labels_without_control": _labels_without_control(controls, loaded_model),
        }
        log(logging.INFO, "label_studio_setup", log_fields)
        return json_response({"model_version": _model_version(loaded_model)})

    @app.post(
        "/predict",
        summary="Pre-label tasks for Label Studio",
        openapi_extra=json_body(PredictRequest),
        responses=openapi_responses(PredictResponse, ErrorResponse),
    )
    async def predict(request: Request) -> Response:
        deadline = service.deadline()
        loaded_model = service.admit(request.headers, "classify")
        body = await _read(service, request, PredictRequest, deadline)
        controls = parse_label_config(body.label_config, loaded_model.classifier.labels)
        tasks, results = body.tasks, []
        if len(tasks) > MAX_TASKS:
            raise RequestError("too_many_files", f"more than {MAX_TASKS} tasks at once")
        for first in range(0, len(tasks), _TASKS_PER_BATCH):
            group = tasks[first : first + _TASKS_PER_BATCH]
            references = [task.audio_of(controls[0]) for task in group]
            blobs = await asyncio.gather(*(audio.read(r, deadline) for r in references))
            outcomes = await _classify_blobs(service, request, loaded_model, blobs, deadline)
            min_score = service.settings.label_studio_min_score
            results += [
                _result(task, outcome, controls, loaded_model, min_score)
                for task, outcome in zip(group, outcomes, strict=True)
            ]
        return json_response({"results": results})

    @app.post(
        "/webhook",
        summary="Receive annotations from Label Studio",
        openapi_extra=json_body(WebhookEvent),
        status_code=201,
        responses=openapi_responses(WebhookResponse, ErrorResponse, status=201),
    )
    async def webhook(request: Request) -> Response:
        deadline = service.deadline()
        service.keys.check(request.headers, "feedback")
        event = await _read(service, request, WebhookEvent, deadline)
        reason = await store_annotation(service, audio, event, request, deadline)
        log_fields = {
            "action": printable_text(event.action),
            "project": id_text(event.project),
            "annotation": printable_text(event.annotation.id),
            "task": printable_text(event.task.id),
        }
        not_stored = {"not_stored": reason} if reason else {}
        log(logging.INFO, "label_studio_event", log_fields | not_stored)
        return json_response({"status": "accepted"}, 201)


async def _classify_blobs(
    service: Service,
    request: Request,
    loaded_model: LoadedModel,
    blobs_or_errors: Sequence[bytes | AudioError],
    deadline: float,
) -> list[InferenceOutcome]:
    """Classify audio, keeping errors in place; a refused batch is an error of each of its tasks.

    Raises:
        RequestError: ``client_disconnected``.
    """
    blobs = [blob for blob in blobs_or_errors if isinstance(blob, bytes)]
    outcomes: list[InferenceOutcome] = []
    try:
        with service.upload_budget.reserved(sum(map(len, blobs))):
            outcomes = (
                await service.classify(blobs, loaded_model, deadline, request) if blobs else []
            )
    except RequestError as error:
        if error.code == "client_disconnected":
            raise
        outcomes = [RequestError(error.code, str(error))] * len(blobs)
    classified = iter(outcomes)
    return [
        blob_or_error if isinstance(blob_or_error, AudioError) else next(classified)
        for blob_or_error in blobs_or_errors
    ]


def _result(
    task: Task,
    outcome: InferenceOutcome,
    controls: Sequence[Control],
    loaded_model: LoadedModel,
    min_score: float,
) -> dict[str, Any]:
    """A task's prediction in Label Studio's format, or an empty one with the reason."""
    if isinstance(outcome, Prediction):
        results = [
            result
            for control in controls
            for result in control_results(control, outcome, loaded_model.classifier, min_score)
        ]
        if results or all(control.kind == "labels" for control in controls):
            scores = [result["score"] for result in results]
            score = sum(scores) / len(scores) if scores else round(outcome.score, SCORE_DIGITS)
            return {
                "result": results,
                "score": score,
                "model_version": _model_version(loaded_model),
            }
        outcome = RequestError("label_not_offered", "no control offers the predicted label")
    log_fields = {"task": printable_text(task.id), "code": outcome.code, "reason": str(outcome)}
    log(logging.WARNING, "label_studio_task_failed", log_fields)
    error = {"code": outcome.code, "message": str(outcome)}
    return {
        "result": [],
        "score": 0.0,
        "model_version": _model_version(loaded_model),
        "error": error,
    }


async def _read(service: Service, request: Request, kind: type[T], deadline: float) -> T:
    with service.open_body(request, deadline) as body:
        return await body.read_json(kind, min(MAX_JSON_BYTES, service.settings.max_request_bytes))


def _labels_without_control(controls: Sequence[Control], loaded_model: LoadedModel) -> list[str]:
    """The model's labels that no control offers, and that are therefore never predicted."""
    labels = loaded_model.classifier.labels
    return [label for label in labels if all(c.value_for(label) is None for c in controls)]


def _model_version(loaded_model: LoadedModel) -> str:
    return f"{loaded_model.info['name']}-{loaded_model.info['version']}"
