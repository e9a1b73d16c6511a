"""``POST /v1/feedback``: what is right of a prediction, or of a file that comes along."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool

from earful.data.labels.multilabel import has_several, split_labels
from earful.service.classifier import Classifier, Prediction
from earful.service.core.errors import RequestError, json_answer, sentence_of
from earful.service.feedback.audio_files import sha256_of
from earful.service.feedback.feedback_service import Desk
from earful.service.feedback.prediction_ids import Heard, UnknownPrediction
from earful.service.feedback.recordings import kept_clip
from earful.service.feedback.records import KeptClip, KeyReused, Opinion
from earful.service.http.app_state import Service
from earful.service.http.routes.admission import admit, answers
from earful.service.http.routes.feedback_bodies import (
    MAX_KEY_CHARACTERS,
    FeedbackGiven,
    FeedbackStatus,
    FeedbackStored,
)
from earful.service.http.schemas import ErrorAnswer
from earful.service.http.uploads import Body

MAX_JSON_BYTES = 16_384
Recording = tuple[KeptClip, bytes]


def add_giving_routes(app: FastAPI, service: Service) -> None:
    @app.get("/v1/feedback/status", summary="Whether labels and recordings are kept here")
    async def status() -> FeedbackStatus:
        desk = service.feedback
        return FeedbackStatus(
            feedback=desk is not None, keep_audio=desk.policy if desk else "off"
        )  # fmt: skip

    @app.post(
        "/v1/feedback",
        summary="Say what is right of a recording",
        status_code=201,
        openapi_extra=_body_of(FeedbackGiven),
        responses=answers(FeedbackStored, 201)
        | {409: {"model": ErrorAnswer, "description": "the Idempotency-Key came with other data"}},
    )
    async def give(request: Request) -> Response:
        deadline = service.deadline()
        desk = admit(service, request, "feedback")
        with service.intake.reading(request, deadline) as body:
            given, blob = await _read(body)
            opinion, recording = await _understood(service, desk, request, given, blob, deadline)
            try:
                stored = await desk.take(opinion, recording, deadline)
            except KeyReused as error:
                raise RequestError(
                    "idempotency_key_reused",
                    "this Idempotency-Key came before with another label or recording; "
                    "take a new one for each",
                ) from error
        content = {
            "id": stored.id,
            "sha256": stored.sha256,
            "audio_kept": stored.audio_kept,
            "repeated": stored.repeated,
        }
        return json_answer(content, 200 if stored.repeated else 201)


async def _read(body: Body) -> tuple[FeedbackGiven, bytes | None]:
    """What is said, and the file that it is about, if it came along."""
    try:
        if not body.is_form:
            if not body.is_json:
                raise RequestError(
                    "malformed_request", "send application/json, or a form with the file"
                )
            return FeedbackGiven.model_validate_json(await body.whole(MAX_JSON_BYTES)), None
        files, fields = await body.form()
        if len(files) > 1:
            raise RequestError("too_many_files", "feedback is about one file; send one at a time")
        given = FeedbackGiven.model_validate_strings(fields)
    except ValidationError as error:
        raise RequestError("malformed_request", sentence_of(error.errors())) from error
    return given, files[0][1] if files else None


async def _understood(
    service: Service, desk: Desk, request: Request, given: FeedbackGiven, blob: bytes | None,
    deadline: float,
) -> tuple[Opinion, Recording | None]:  # fmt: skip
    """An opinion about the prediction that is meant, or about what is heard in the file now."""
    if given.label is not None:
        _check_label(given.label, service.served().classifier, new=given.new_label)
    heard = None if given.prediction_id is None else _predicted(desk, given.prediction_id)
    recording = None
    if blob is not None:
        sha256 = await run_in_threadpool(sha256_of, blob)
        if heard is not None and heard.sha256 != sha256:
            raise RequestError(
                "other_audio", "the prediction is about another recording than the file"
            )
        recording = (await heard_now(service, request, sha256, blob, deadline), blob)
        heard = heard or recording[0].heard
    if heard is None:
        raise RequestError("malformed_request", "send a prediction_id, or the file")
    opinion = Opinion(
        heard.sha256, given.label, given.who, given.speaker, given.comment, given.source, heard,
        _request_key(request),
    )  # fmt: skip
    return opinion, recording


async def heard_now(
    service: Service, request: Request, sha256: str, blob: bytes, deadline: float
) -> KeptClip:
    """What the model hears in a recording, as it is kept beside it.

    Raises:
        RequestError, AudioError: it cannot be heard, or not now.
    """
    served = service.served()
    [answer] = await service.answer([blob], served, deadline, request)
    if not isinstance(answer, Prediction):
        raise answer
    return kept_clip(sha256, blob, answer, served)


def _predicted(desk: Desk, prediction_id: str) -> Heard:
    try:
        return desk.ids.read(prediction_id)
    except UnknownPrediction as error:
        raise RequestError(
            "unknown_prediction",
            "this prediction_id is of no answer that this service, or one that shares its "
            "database of feedback, has given; send the file itself",
        ) from error


def _request_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= MAX_KEY_CHARACTERS and key.isprintable()):
        raise RequestError(
            "malformed_request", f"an Idempotency-Key has 1 to {MAX_KEY_CHARACTERS} characters"
        )
    return key


def _check_label(label: str, classifier: Classifier, *, new: bool) -> None:
    """See that a label is one that can be learnt, or several where the model says several.

    Raises:
        RequestError: ``unknown_label``.
    """
    if label in classifier.labels:
        return
    if has_several(label) and not classifier.says_several:
        raise RequestError(
            "unknown_label",
            f"{label!r} are several labels, and this model knows one for each recording; send the "
            "one that fits best",
        )
    for part in split_labels(label):
        if part not in classifier.labels and not new:
            raise RequestError("unknown_label", _unknown_label(part, classifier.labels))


def _unknown_label(label: str, labels: tuple[str, ...]) -> str:
    shown = ", ".join(labels[:100]) + (", ..." if len(labels) > 100 else "")
    return (
        f"{label!r} is none of the model's labels, which are {shown}; "
        'send "new_label": true with a new one'
    )


def _body_of(model: type[BaseModel]) -> dict[str, Any]:
    schema = model.model_json_schema()
    file = {"file": {"type": "string", "format": "binary"}}
    form = {
        "type": "object",
        "required": ["label", "who"],
        "properties": schema["properties"] | file,
    }
    return {
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": schema},
                "multipart/form-data": {"schema": form},
            },
        }
    }
