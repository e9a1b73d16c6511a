"""Feedback routes: submit labels, review clips, export and erase the data of a person."""

from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request
from fastapi.responses import FileResponse, Response
from starlette.concurrency import run_in_threadpool

from earful.data.labels.multilabel import distinct_labels, sort_labels
from earful.service.core.defaults import SCORE_DIGITS
from earful.service.core.errors import RequestError, json_response, malformed
from earful.service.feedback.audio_files import MEDIA_TYPES
from earful.service.feedback.feedback_service import FeedbackService
from earful.service.feedback.records import ReviewItem
from earful.service.http.app_state import Service
from earful.service.http.routes.admission import FEEDBACK_ERRORS, require_feedback
from earful.service.http.routes.feedback_bodies import (
    MAX_KEY_CHARACTERS,
    ErasureResponse,
    ReviewResponse,
    SubjectDataResponse,
)
from earful.service.http.routes.submit_feedback import add_submit_routes
from earful.service.http.schemas import ErrorResponse, openapi_responses

MAX_REVIEW_CLIPS = 100
_AUDIO_PATH = "/v1/review/audio/"
_REASONS = ("disputed", "unlabelled", "agreed")
# Uploaded by users: browsers must not guess its type, run it or cache it.
_AUDIO_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-store",
}


def add_feedback_routes(app: FastAPI, service: Service) -> None:
    add_submit_routes(app, service)
    _add_review(app, service)
    _add_privacy_routes(app, service)


def _add_review(app: FastAPI, service: Service) -> None:
    @app.get(
        "/v1/review",
        summary="Clips to label: those with disagreement first, then the least confident",
        responses=openapi_responses(ReviewResponse, ErrorResponse, own_errors=FEEDBACK_ERRORS),
    )
    async def review(
        request: Request,
        annotator: Annotated[str, Query(min_length=1, max_length=MAX_KEY_CHARACTERS)],
        limit: Annotated[int, Query(ge=1, le=MAX_REVIEW_CLIPS)] = 20,
        cursor: Annotated[str, Query(max_length=200)] = "",
    ) -> Response:
        feedback_service = require_feedback(service, request, "feedback")
        loaded_model = service.loaded_model()
        _check_key(annotator)
        try:
            page = await feedback_service.next_clips(
                annotator.strip(), limit, cursor, service.deadline()
            )
        except ValueError as error:
            raise malformed(str(error)) from error
        model_labels = loaded_model.classifier.labels
        new_labels = sort_labels(set(distinct_labels(page.labels)) - set(model_labels))
        content = {
            "clips": [_clip_json(feedback_service, item) for item in page.items],
            "cursor": page.cursor,
            "remaining": page.remaining,
            "labelled": page.labelled,
            "labels": [*model_labels, *new_labels],
            "score_kind": loaded_model.classifier.metadata.score_kind,
        }
        return json_response(content, headers={"Cache-Control": "no-store"})

    @app.get(
        _AUDIO_PATH + "{sha256}",
        summary="A saved recording",
        response_class=FileResponse,
        responses=openapi_responses(None, ErrorResponse, own_errors=FEEDBACK_ERRORS),
    )
    async def audio(
        request: Request, sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
    ) -> Response:
        feedback_service = require_feedback(service, request, "feedback")
        clip = await feedback_service.find_recording(sha256, service.deadline())
        path = feedback_service.recording_store.path(sha256, clip.suffix) if clip else None
        if clip is None or path is None or not await run_in_threadpool(path.is_file):
            raise RequestError(
                "recording_not_found", "no recording with this SHA-256 is saved here"
            )
        return FileResponse(path, media_type=MEDIA_TYPES[clip.suffix], headers=_AUDIO_HEADERS)


def _add_privacy_routes(app: FastAPI, service: Service) -> None:
    key_of_path = Path(min_length=1, max_length=MAX_KEY_CHARACTERS)

    @app.get(
        "/v1/feedback/subjects/{key:path}",
        summary="All data of a person",
        responses=openapi_responses(SubjectDataResponse, ErrorResponse, own_errors=FEEDBACK_ERRORS),
    )
    async def show(request: Request, key: Annotated[str, key_of_path]) -> Response:
        feedback_service = _require_admin(service, request, key)
        subject_data = await feedback_service.export_subject_data(key, service.deadline())
        content = subject_data.as_json(key, lambda sha256, _: _AUDIO_PATH + sha256)
        return json_response(content, headers={"Cache-Control": "no-store"})

    @app.delete(
        "/v1/feedback/subjects/{key:path}",
        summary="Delete all data of a person",
        responses=openapi_responses(ErasureResponse, ErrorResponse, own_errors=FEEDBACK_ERRORS),
    )
    async def erase(request: Request, key: Annotated[str, key_of_path]) -> Response:
        feedback_service = _require_admin(service, request, key)
        deleted = await feedback_service.erase_subject(key, service.deadline())
        return json_response(
            {"annotations": deleted.rows, "recordings": deleted.clips, "bytes": deleted.n_bytes}
        )


def _require_admin(service: Service, request: Request, key: str) -> FeedbackService:
    # The key identifies a person and stays out of the log.
    request.state.request_log.log_fields = {"path": "/v1/feedback/subjects/{key}"}
    feedback_service = require_feedback(service, request, "admin")
    _check_key(key)
    return feedback_service


def _check_key(key: str) -> None:
    if not key.strip() or not key.isprintable():
        raise malformed("a key must consist of printable characters")


def _clip_json(feedback_service: FeedbackService, item: ReviewItem) -> dict[str, Any]:
    clip = item.clip
    digest = bytes.fromhex(clip.sha256)
    return {
        "sha256": clip.sha256,
        "prediction_id": feedback_service.ids.sign(
            digest, clip.predicted_label, clip.score, clip.model_name, clip.model_version
        ),
        "audio": _AUDIO_PATH + clip.sha256,
        "seconds": round(clip.seconds, 6),
        "reason": _REASONS[item.rank],
        "prediction": {
            "label": clip.predicted_label,
            "score": round(clip.score, SCORE_DIGITS),
            "margin": round(clip.margin, SCORE_DIGITS),
            "model": {"name": clip.model_name, "version": clip.model_version},
        },
        "label_counts": item.label_counts,
    }
