"""``POST /v1/feedback``: the correct label of a prediction or of an uploaded file."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool

from earful.data.labels.multilabel import has_multiple_labels, split_labels
from earful.data.text.json_input import describe_problems
from earful.models.bundle.decision import names_rejection
from earful.service.classifier import Classifier
from earful.service.core.errors import RequestError, json_response, malformed
from earful.service.feedback.audio_files import sha256_of
from earful.service.feedback.feedback_service import FeedbackService
from earful.service.feedback.prediction_ids import PredictionRecord, UnknownPrediction
from earful.service.feedback.recordings import to_stored_recording
from earful.service.feedback.records import (
    FeedbackAnnotation,
    IdempotencyKeyReused,
    StoredRecording,
)
from earful.service.http.app_state import Service
from earful.service.http.request_body import RequestBody
from earful.service.http.routes.admission import (
    FEEDBACK_ERRORS,
    require_feedback,
    sender_of,
)
from earful.service.http.routes.feedback_bodies import (
    MAX_KEY_CHARACTERS,
    FeedbackRequest,
    FeedbackResponse,
    FeedbackStatusResponse,
)
from earful.service.http.schemas import ErrorResponse, json_body, openapi_responses

RecordingWithBytes = tuple[StoredRecording, bytes]


def add_submit_routes(app: FastAPI, service: Service) -> None:
    @app.get("/v1/feedback/status", summary="Whether labels and recordings are stored")
    async def status() -> FeedbackStatusResponse:
        feedback_service = service.feedback
        return FeedbackStatusResponse(
            feedback=feedback_service is not None,
            save_recordings=feedback_service.save_policy if feedback_service else "off",
        )

    @app.post(
        "/v1/feedback",
        summary="Submit the correct label of a recording",
        status_code=201,
        openapi_extra=_request_body_schema(FeedbackRequest),
        responses=openapi_responses(
            FeedbackResponse,
            ErrorResponse,
            201,
            {**FEEDBACK_ERRORS, 409: "the Idempotency-Key was used with other data"},
        ),
    )
    async def submit(request: Request) -> Response:
        deadline = service.deadline()
        feedback_service = require_feedback(service, request, "feedback")
        with service.open_body(request, deadline) as body:
            payload, blob = await _read(body)
            annotation, recording = await _to_annotation(
                service, feedback_service, request, payload, blob, deadline
            )
            try:
                stored = await feedback_service.submit_feedback(annotation, recording, deadline)
            except IdempotencyKeyReused as error:
                raise RequestError(
                    "idempotency_key_reused",
                    "this Idempotency-Key was used before with another label or recording; "
                    "use a new key for each submission",
                ) from error
        content = {
            "id": stored.id,
            "sha256": stored.sha256,
            "recording_saved": stored.recording_saved,
            "duplicate": stored.duplicate,
        }
        return json_response(content, 200 if stored.duplicate else 201)


async def _read(body: RequestBody) -> tuple[FeedbackRequest, bytes | None]:
    """The feedback, and the bytes of the file if one was sent."""
    if not body.is_form:
        if not body.is_json:
            raise malformed("send application/json, or a form with the file")
        return await body.read_json(FeedbackRequest), None
    files, fields = await body.form()
    if len(files) > 1:
        raise RequestError("too_many_files", "feedback is about one file; send one at a time")
    try:
        payload = FeedbackRequest.model_validate_strings(fields)
    except ValidationError as error:
        raise malformed(describe_problems(error.errors(), FeedbackRequest)) from error
    return payload, files[0][1] if files else None


async def _to_annotation(
    service: Service,
    feedback_service: FeedbackService,
    request: Request,
    payload: FeedbackRequest,
    blob: bytes | None,
    deadline: float,
) -> tuple[FeedbackAnnotation, RecordingWithBytes | None]:
    """The annotation of the given prediction, or of a new prediction for the file."""
    if payload.label is not None:
        _check_label(payload.label, service.loaded_model().classifier, new=payload.new_label)
    prediction = (
        None
        if payload.prediction_id is None
        else _read_prediction_id(feedback_service, payload.prediction_id)
    )
    recording = None
    if blob is not None:
        sha256 = await run_in_threadpool(sha256_of, blob)
        if prediction is not None and prediction.sha256 != sha256:
            raise RequestError(
                "recording_mismatch", "the prediction_id belongs to another recording than the file"
            )
        recording = (await classify_recording(service, request, sha256, blob, deadline), blob)
        prediction = prediction or recording[0].prediction
    if prediction is None:
        raise malformed("send a prediction_id, or the file")
    annotation = FeedbackAnnotation(
        sha256=prediction.sha256,
        label=payload.label,
        annotator=payload.annotator,
        speaker=payload.speaker,
        comment=payload.comment,
        source=payload.source,
        prediction=prediction,
        idempotency_key=_idempotency_key(request),
        sender=sender_of(service, feedback_service, request),
    )
    return annotation, recording


async def classify_recording(
    service: Service, request: Request, sha256: str, blob: bytes, deadline: float
) -> StoredRecording:
    """Classify a recording, and return it with its prediction as it is stored.

    Raises:
        AudioError: the recording is unusable.
        RequestError: it cannot be classified now.
    """
    loaded_model = service.loaded_model()
    [prediction] = await service.predict([blob], loaded_model, deadline, request)
    return to_stored_recording(sha256, blob, prediction, loaded_model)


def _read_prediction_id(feedback_service: FeedbackService, prediction_id: str) -> PredictionRecord:
    try:
        return feedback_service.ids.read(prediction_id)
    except UnknownPrediction as error:
        raise RequestError(
            "unknown_prediction",
            "this prediction_id was not issued by this service or one that shares its feedback "
            "database; send the file itself",
        ) from error


def _idempotency_key(request: Request) -> str | None:
    key = request.headers.get("idempotency-key")
    if key is not None and not (0 < len(key) <= MAX_KEY_CHARACTERS and key.isprintable()):
        raise malformed(f"an Idempotency-Key has 1 to {MAX_KEY_CHARACTERS} characters")
    return key


def _check_label(label: str, classifier: Classifier, *, new: bool) -> None:
    """Check that a label is one of the model's or declared new, and single unless multi-label.

    Raises:
        RequestError: ``unknown_label``.
    """
    if label in classifier.labels:
        return
    if has_multiple_labels(label) and not classifier.is_multi_label:
        raise RequestError(
            "unknown_label",
            f"{label!r} are several labels, but this model predicts one for each recording; send "
            "the one that fits best",
        )
    for part in split_labels(label):
        if part not in classifier.labels and names_rejection(part):
            raise RequestError(
                "unknown_label",
                f"{part!r} is the answer for recordings that are none of the model's labels, and "
                "no label itself; send null, or the label that the sound has",
            )
        if part not in classifier.labels and not new:
            raise RequestError("unknown_label", _unknown_label(part, classifier.labels))


def _unknown_label(label: str, labels: tuple[str, ...]) -> str:
    shown = ", ".join(labels[:100]) + (", ..." if len(labels) > 100 else "")
    return (
        f"{label!r} is none of the model's labels, which are {shown}; "
        'send "new_label": true with a new one'
    )


def _request_body_schema(model: type[BaseModel]) -> dict[str, Any]:
    body = json_body(model)
    content = body["requestBody"]["content"]
    file = {"file": {"type": "string", "format": "binary"}}
    form = {
        "type": "object",
        "required": ["label", "annotator"],
        "properties": content["application/json"]["schema"]["properties"] | file,
    }
    content["multipart/form-data"] = {"schema": form}
    return body
