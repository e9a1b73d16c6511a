"""Label Studio's machine-learning backend, so that it can label with our model in advance.

    POST /predict  POST /setup  POST /webhook  GET /health

Its server asks these at the address that a project is given under "Model". Source: label-studio-ml,
api.py. A task that fails has an empty result and its reason, and harms none of the others.
"""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.concurrency import run_in_threadpool

from earful.data.annotations.annotation import plain
from earful.data.audio.decode import AudioError
from earful.service.classifier import Prediction
from earful.service.core.errors import RequestError, json_answer
from earful.service.core.request_log import log
from earful.service.http.app_state import SCORE_DIGITS, Service
from earful.service.http.routes.admission import refuse_other_sites
from earful.service.http.schemas import ErrorAnswer, PreLabelled, SetUp, Taken, Up, answers_of
from earful.service.inference.hot_reload import Served
from earful.service.inference.job_queue import Answer
from earful.service.label_studio.label_config import Control, read_config
from earful.service.label_studio.prelabels import results_of
from earful.service.label_studio.submitted_labels import Event, hand_over
from earful.service.label_studio.task_audio import TaskAudio

MODEL_CLASS = "Earful"
MAX_TASKS = 1000
MAX_JSON_BYTES = 16 << 20
# Audio that one request holds at a time.
_TASKS_AT_ONCE = 8


def add_label_studio_routes(app: FastAPI, service: Service) -> None:
    audio = TaskAudio(service.settings)

    @app.get("/health", summary="As Label Studio asks it", responses=answers_of(Up, ErrorAnswer))
    async def health() -> Response:
        service.ready()
        return json_answer({"status": "UP", "model_class": MODEL_CLASS})

    @app.post(
        "/setup", summary="Connect a project of Label Studio", openapi_extra=_SETUP,
        responses=answers_of(SetUp, ErrorAnswer),
    )  # fmt: skip
    async def setup(request: Request) -> Response:
        served = service.admit(request.headers, "classify")
        asked = await _json(service, request, service.deadline())
        controls = read_config(asked.get("schema"), served.classifier.labels)
        facts = {"project": _name(asked.get("project")), "not_offered": _missing(controls, served)}
        log(logging.INFO, "label_studio_setup", facts)
        return json_answer({"model_version": _version(served)})

    @app.post(
        "/predict", summary="Labels in advance, for Label Studio", openapi_extra=_PREDICT,
        responses=answers_of(PreLabelled, ErrorAnswer),
    )  # fmt: skip
    async def predict(request: Request) -> Response:
        deadline = service.deadline()
        served = service.admit(request.headers, "classify")
        asked = await _json(service, request, deadline)
        controls = read_config(asked.get("label_config"), served.classifier.labels)
        tasks, results = _tasks(asked), []
        for first in range(0, len(tasks), _TASKS_AT_ONCE):
            group = tasks[first : first + _TASKS_AT_ONCE]
            references = [_reference(task, controls[0]) for task in group]
            sounds = await asyncio.gather(*(audio.read(r, deadline) for r in references))
            answers = await _heard(service, sounds, served, request, deadline)
            least = service.settings.label_studio_min_score
            results += [
                _result(task, answer, controls, served, least)
                for task, answer in zip(group, answers, strict=True)
            ]
        return json_answer({"results": results})

    @app.post(
        "/webhook", summary="What was annotated in Label Studio", openapi_extra=_WEBHOOK,
        status_code=201, responses=answers_of(Taken, ErrorAnswer, status=201),
    )  # fmt: skip
    async def webhook(request: Request) -> Response:
        deadline = service.deadline()
        service.keys.check(request.headers, "feedback")
        refuse_other_sites(request)
        event = _event(await _json(service, request, deadline))
        reason = await hand_over(service, audio, event, request, deadline)
        facts = {
            "action": event.action,
            "project": _name(event.project),
            "annotation": _name(event.annotation),
            "task": _name(event.task),
        }
        not_kept = {"not_kept": reason} if reason else {}
        log(logging.INFO, "label_studio_event", facts | not_kept)
        return json_answer({"status": "taken"}, 201)


async def _heard(
    service: Service, sounds: Sequence[bytes | AudioError], served: Served, request: Request,
    deadline: float,
) -> list[Answer]:  # fmt: skip
    """What is heard in each sound; a refusal of all is that of each, so that others go on.

    Raises:
        RequestError: ``client_gone``.
    """
    blobs = [sound for sound in sounds if isinstance(sound, bytes)]
    answers: list[Answer] = []
    try:
        with service.intake.holding(sum(map(len, blobs))):
            answers = await service.answer(blobs, served, deadline, request) if blobs else []
    except RequestError as error:
        if error.code == "client_gone":
            raise
        answers = [RequestError(error.code, str(error))] * len(blobs)
    heard = iter(answers)
    return [next(heard) if isinstance(sound, bytes) else sound for sound in sounds]


def _result(
    task: Mapping[str, Any], answer: Answer, controls: Sequence[Control], served: Served,
    least_score: float,
) -> dict[str, Any]:  # fmt: skip
    """A task's prediction as Label Studio takes it, or an empty one with the reason."""
    if isinstance(answer, Prediction):
        results = [
            result
            for control in controls
            for result in results_of(control, answer, served.classifier, least_score)
        ]
        if results or all(control.kind == "labels" for control in controls):
            scores = [result["score"] for result in results]
            score = sum(scores) / len(scores) if scores else round(answer.score, SCORE_DIGITS)
            return {"result": results, "score": score, "model_version": _version(served)}
        answer = RequestError("label_not_offered", "no control offers the label that was heard")
    facts = {"task": _name(task), "code": answer.code, "reason": str(answer)}
    log(logging.WARNING, "label_studio_task_failed", facts)
    error = {"code": answer.code, "message": str(answer)}
    return {"result": [], "score": 0.0, "model_version": _version(served), "error": error}


async def _json(service: Service, request: Request, deadline: float) -> dict[str, Any]:
    with service.intake.reading(request, deadline) as body:
        text = await body.whole(min(MAX_JSON_BYTES, service.settings.max_request_bytes))
        return await run_in_threadpool(_parse, text)


def _parse(text: bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _malformed(f"the body is no JSON: {error}") from error
    if not isinstance(value, dict):
        raise _malformed("the body must be a JSON object")
    return value


def _tasks(asked: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    tasks = asked.get("tasks")
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise _malformed("'tasks' must be a list of objects")
    if len(tasks) > MAX_TASKS:
        raise RequestError("too_many_files", f"more than {MAX_TASKS} tasks at once")
    return tasks


def _reference(task: Mapping[str, Any], control: Control) -> str:
    data = task.get("data")
    reference = data.get(control.field) if isinstance(data, dict) else None
    return reference if isinstance(reference, str) else ""


def _event(told: Mapping[str, Any]) -> Event:
    action = told.get("action")
    if not isinstance(action, str) or not action:
        raise _malformed("'action' must say what happened")
    annotation, task = (told.get(name) for name in ("annotation", "task"))
    return Event(
        plain(action), told.get("project"),
        annotation if isinstance(annotation, dict) else {}, task if isinstance(task, dict) else {},
    )  # fmt: skip


def _name(value: Any) -> str:
    """The number of a task, annotation or project, as it may stand in the log."""
    return plain(value.get("id") if isinstance(value, dict) else value)


def _missing(controls: Sequence[Control], served: Served) -> list[str]:
    """Labels of the model that no control offers: they will not be predicted."""
    labels = served.classifier.labels
    return [label for label in labels if all(c.value_of(label) is None for c in controls)]


def _version(served: Served) -> str:
    return f"{served.info['name']}-{served.info['version']}"


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
