"""The routes of feedback: give it, review clips, show and delete what is kept of a person."""

from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request
from fastapi.responses import FileResponse, Response
from starlette.concurrency import run_in_threadpool

from earful.data.labels.multilabel import all_labels, label_order
from earful.service.core.errors import RequestError, json_answer
from earful.service.feedback.audio_files import MEDIA_TYPES
from earful.service.feedback.feedback_service import Desk
from earful.service.feedback.records import ReviewItem
from earful.service.http.app_state import SCORE_DIGITS, Service
from earful.service.http.routes.admission import admit, answers
from earful.service.http.routes.feedback_bodies import (
    MAX_KEY_CHARACTERS,
    DeletedAnswer,
    PersonAnswer,
    ReviewAnswer,
)
from earful.service.http.routes.submit_feedback import add_giving_routes

MAX_REVIEW_CLIPS = 100
_AUDIO_PATH = "/v1/review/audio/"
_REASONS = ("disagreeing", "unlabelled", "agreed")
# A file of somebody's: shown as what it is, run as nothing, and kept by no cache.
_AUDIO_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-store",
}


def add_feedback_routes(app: FastAPI, service: Service) -> None:
    add_giving_routes(app, service)
    _add_review(app, service)
    _add_people(app, service)


def _add_review(app: FastAPI, service: Service) -> None:
    @app.get(
        "/v1/review",
        summary="Clips to label: disagreement first, then doubt",
        responses=answers(ReviewAnswer),
    )
    async def review(
        request: Request,
        who: Annotated[str, Query(min_length=1, max_length=MAX_KEY_CHARACTERS)],
        limit: Annotated[int, Query(ge=1, le=MAX_REVIEW_CLIPS)] = 20,
        after: Annotated[str, Query(max_length=200)] = "",
    ) -> Response:
        desk, served = admit(service, request, "feedback"), service.served()
        _check_person(who)
        try:
            page = await desk.next_clips(who.strip(), limit, after, service.deadline())
        except ValueError as error:
            raise RequestError("malformed_request", str(error)) from error
        of_model = served.classifier.labels
        others = label_order(set(all_labels(page.labels)) - set(of_model))
        content = {
            "clips": [_clip_answer(desk, item) for item in page.items],
            "after": page.after,
            "waiting": page.waiting,
            "labelled": page.labelled,
            "labels": [*of_model, *others],
            "scores": served.classifier.metadata.scores,
        }
        return json_answer(content, headers={"Cache-Control": "no-store"})

    @app.get(
        _AUDIO_PATH + "{sha256}",
        summary="A recording that is kept",
        response_class=FileResponse,
        responses=answers(None),
    )
    async def audio(
        request: Request, sha256: Annotated[str, Path(pattern="^[0-9a-f]{64}$")]
    ) -> Response:
        desk = admit(service, request, "feedback")
        clip = await desk.find(sha256, service.deadline())
        path = desk.audio.path(sha256, clip.suffix) if clip else None
        if clip is None or path is None or not await run_in_threadpool(path.is_file):
            raise RequestError("no_such_audio", "no recording with this SHA-256 is kept here")
        return FileResponse(path, media_type=MEDIA_TYPES[clip.suffix], headers=_AUDIO_HEADERS)


def _add_people(app: FastAPI, service: Service) -> None:
    key_of_path = Path(min_length=1, max_length=MAX_KEY_CHARACTERS)

    @app.get(
        "/v1/feedback/people/{key:path}",
        summary="All that is kept of a person",
        responses=answers(PersonAnswer),
    )
    async def show(request: Request, key: Annotated[str, key_of_path]) -> Response:
        desk = _admit_about(service, request, key)
        found = await desk.data_of(key, service.deadline())
        content = found.as_json(key, lambda sha256, _: _AUDIO_PATH + sha256)
        return json_answer(content, headers={"Cache-Control": "no-store"})

    @app.delete(
        "/v1/feedback/people/{key:path}",
        summary="Delete all that is kept of a person",
        responses=answers(DeletedAnswer),
    )
    async def forget(request: Request, key: Annotated[str, key_of_path]) -> Response:
        desk = _admit_about(service, request, key)
        gone = await desk.delete_person(key, service.deadline())
        return json_answer({"feedback": gone.rows, "audio": gone.clips, "bytes": gone.n_bytes})


def _admit_about(service: Service, request: Request, key: str) -> Desk:
    # The log names nobody.
    request.state.observed.facts = {"path": "/v1/feedback/people/{key}"}
    desk = admit(service, request, "admin")
    _check_person(key)
    return desk


def _check_person(key: str) -> None:
    if not key.strip() or not key.isprintable():
        raise RequestError("malformed_request", "a person's key has characters that can be read")


def _clip_answer(desk: Desk, item: ReviewItem) -> dict[str, Any]:
    clip = item.clip
    digest = bytes.fromhex(clip.sha256)
    return {
        "sha256": clip.sha256,
        "prediction_id": desk.ids.sign(
            digest, clip.heard_label, clip.score, clip.model_name, clip.model_version
        ),
        "audio": _AUDIO_PATH + clip.sha256,
        "seconds": round(clip.seconds, 6),
        "reason": _REASONS[item.rank],
        "heard": {
            "label": clip.heard_label,
            "score": round(clip.score, SCORE_DIGITS),
            "margin": round(clip.margin, SCORE_DIGITS),
            "model": {"name": clip.model_name, "version": clip.model_version},
        },
        "votes": item.votes,
    }
