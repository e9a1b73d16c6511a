"""Routes of a Label Studio machine-learning backend: pre-labels tasks with the served model.

    POST /predict  POST /setup  POST /webhook  GET /health

Label Studio calls them at the URL given in a project's "Model" settings. Source: label-studio-ml,
api.py. A failed task gets an empty result with the reason; the other tasks are not affected.
"""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from earful.data.annotations.annotation import printable_text
from earful.data.audio.decode import AudioError
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
    openapi_responses,
)
from earful.service.inference.hot_reload import LoadedModel
from earful.service.inference.job_queue import InferenceOutcome
from earful.service.label_studio.label_config import Control, parse_label_config
from earful.service.label_studio.prelabels import control_results
from earful.service.label_studio.submitted_labels import WebhookEvent, store_annotation
from earful.service.label_studio.task_audio import TaskAudio

MODEL_CLASS = "Earful"
MAX_TASKS = 1000
MAX_JSON_BYTES = 16 << 20
# Tasks whose audio one request holds in memory at a time.
_TASKS_PER_BATCH = 8


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
        openapi_extra=_SETUP,
        responses=openapi_responses(SetupResponse, ErrorResponse),
    )
    async def setup(request: Request) -> Response:
        loaded_model = service.admit(request.headers, "classify")
        payload = await _json(service, request, service.deadline())
        controls = parse_label_config(payload.get("schema"), loaded_model.classifier.labels)
        log_fields = {
            "project": _id_text(payload.get("project")),
            "labels_without_control": _labels_without_control(controls, loaded_model),
        }
        log(logging.INFO, "label_studio_setup", log_fields)
        return json_response({"model_version": _model_version(loaded_model)})

    @app.post(
        "/predict",
        summary="Pre-label tasks for Label Studio",
        openapi_extra=_PREDICT,
        responses=openapi_responses(PredictResponse, ErrorResponse),
    )
    async def predict(request: Request) -> Response:
        deadline = service.deadline()
        loaded_model = service.admit(request.headers, "classify")
        payload = await _json(service, request, deadline)
        controls = parse_label_config(payload.get("label_config"), loaded_model.classifier.labels)
        tasks, results = _tasks(payload), []
        for first in range(0, len(tasks), _TASKS_PER_BATCH):
            group = tasks[first : first + _TASKS_PER_BATCH]
            references = [_reference(task, controls[0]) for task in group]
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
        openapi_extra=_WEBHOOK,
        status_code=201,
        responses=openapi_responses(WebhookResponse, ErrorResponse, status=201),
    )
    async def webhook(request: Request) -> Response:
        deadline = service.deadline()
        service.keys.check(request.headers, "feedback")
        event = _event(await _json(service, request, deadline))
        reason = await store_annotation(service, audio, event, request, deadline)
        log_fields = {
            "action": event.action,
            "project": _id_text(event.project),
            "annotation": _id_text(event.annotation),
            "task": _id_text(event.task),
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
    task: Mapping[str, Any],
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
    log_fields = {"task": _id_text(task), "code": outcome.code, "reason": str(outcome)}
    log(logging.WARNING, "label_studio_task_failed", log_fields)
    error = {"code": outcome.code, "message": str(outcome)}
    return {
        "result": [],
        "score": 0.0,
        "model_version": _model_version(loaded_model),
        "error": error,
    }


async def _json(service: Service, request: Request, deadline: float) -> dict[str, Any]:
    with service.open_body(request, deadline) as body:
        text = await body.read_all(min(MAX_JSON_BYTES, service.settings.max_request_bytes))
        return await run_in_threadpool(_parse, text)


def _parse(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"the body is not valid JSON: {error}") from error
    if not isinstance(value, dict):
        raise _malformed("the body must be a JSON object")
    return value


def _tasks(payload: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    tasks = payload.get("tasks")
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise _malformed("'tasks' must be a list of objects")
    if len(tasks) > MAX_TASKS:
        raise RequestError("too_many_files", f"more than {MAX_TASKS} tasks at once")
    return tasks


def _reference(task: Mapping[str, Any], control: Control) -> str:
    data = task.get("data")
    reference = data.get(control.field) if isinstance(data, dict) else None
    return reference if isinstance(reference, str) else ""


def _event(payload: Mapping[str, Any]) -> WebhookEvent:
    action = payload.get("action")
    if not isinstance(action, str) or not action:
        raise _malformed("'action' must be the name of an event, ANNOTATION_CREATED for example")
    annotation, task = (payload.get(name) for name in ("annotation", "task"))
    return WebhookEvent(
        action=printable_text(action),
        project=payload.get("project"),
        annotation=annotation if isinstance(annotation, dict) else {},
        task=task if isinstance(task, dict) else {},
    )


def _id_text(value: Any) -> str:
    """The id of a task, annotation or project, safe for the log."""
    return printable_text(value.get("id") if isinstance(value, dict) else value)


def _labels_without_control(controls: Sequence[Control], loaded_model: LoadedModel) -> list[str]:
    """The model's labels that no control offers, and that are therefore never predicted."""
    labels = loaded_model.classifier.labels
    return [label for label in labels if all(c.value_for(label) is None for c in controls)]


def _model_version(loaded_model: LoadedModel) -> str:
    return f"{loaded_model.info['name']}-{loaded_model.info['version']}"


def _malformed(message: str) -> RequestError:
    return RequestError("malformed_request", message)


def _body(required: Mapping[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": list(required), "properties": dict(required)}
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "content": content}}


_SETUP = _body({"schema": {"type": "string", "description": "the labelling configuration"}})
_PREDICT = _body(
    {
        "tasks": {"type": "array", "maxItems": MAX_TASKS, "items": {"type": "object"}},
        "label_config": {"type": "string", "description": "the labelling configuration"},
    }
)
_WEBHOOK = _body({"action": {"type": "string", "examples": ["ANNOTATION_CREATED"]}})
