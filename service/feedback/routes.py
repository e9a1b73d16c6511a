"""The routes of feedback: give it, review clips, show and delete what is kept of a person."""

from typing import Annotated, Any

from fastapi import FastAPI, Path, Query, Request
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool

from data.labels import label_order
from service.auth import Scope
from service.classifier import Prediction
from service.errors import RequestError, json_answer, sentence_of
from service.feedback.audio import MEDIA_TYPES, sha256_of
from service.feedback.bodies import (
    MAX_KEY_CHARACTERS,
    DeletedAnswer,
    FeedbackGiven,
    FeedbackStatus,
    FeedbackStored,
    PersonAnswer,
    ReviewAnswer,
)
from service.feedback.desk import Desk
from service.feedback.ids import Heard, UnknownPrediction
from service.feedback.keeper import kept_clip
from service.feedback.records import KeptClip, KeyReused, Opinion, ReviewItem
from service.running import SCORE_DIGITS, Service
from service.schemas import ErrorAnswer, answers_of
from service.uploads import Body

MAX_JSON_BYTES = 16_384
MAX_REVIEW_CLIPS = 100
_AUDIO_PATH = "/v1/review/audio/"
_REASONS = ("disagreeing", "unlabelled", "agreed")
# A file of somebody's: shown as what it is, run as nothing, and kept by no cache.
_AUDIO_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Cache-Control": "private, no-store",
}
Recording = tuple[KeptClip, bytes]


def add_feedback_routes(app: FastAPI, service: Service) -> None:
    _add_giving(app, service)
    _add_review(app, service)
    _add_people(app, service)


def _add_giving(app: FastAPI, service: Service) -> None:
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
        responses=_answers(FeedbackStored, 201)
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


def _add_review(app: FastAPI, service: Service) -> None:
    @app.get(
        "/v1/review",
        summary="Clips to label: disagreement first, then doubt",
        responses=_answers(ReviewAnswer),
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
        others = label_order(set(page.labels) - set(of_model))
        content = {
            "clips": [_clip_answer(desk, item) for item in page.items],
            "after": page.after,
            "waiting": page.waiting,
            "labelled": page.labelled,
            "labels": [*of_model, *others],
        }
        return json_answer(content, headers={"Cache-Control": "no-store"})

    @app.get(
        _AUDIO_PATH + "{sha256}",
        summary="A recording that is kept",
        response_class=FileResponse,
        responses=_answers(None),
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
        responses=_answers(PersonAnswer),
    )
    async def show(request: Request, key: Annotated[str, key_of_path]) -> Response:
        desk = _admit_about(service, request, key)
        found = await desk.data_of(key, service.deadline())
        content = found.as_json(key, lambda sha256, _: _AUDIO_PATH + sha256)
        return json_answer(content, headers={"Cache-Control": "no-store"})

    @app.delete(
        "/v1/feedback/people/{key:path}",
        summary="Delete all that is kept of a person",
        responses=_answers(DeletedAnswer),
    )
    async def forget(request: Request, key: Annotated[str, key_of_path]) -> Response:
        desk = _admit_about(service, request, key)
        gone = await desk.delete_person(key, service.deadline())
        return json_answer({"feedback": gone.rows, "audio": gone.clips, "bytes": gone.n_bytes})


def admit(service: Service, request: Request, scope: Scope) -> Desk:
    """The desk, for a request that may be made now.

    Raises:
        RequestError: no key for it, feedback is off, or a page from elsewhere asks through
            somebody's browser.
    """
    service.keys.check(request.headers, scope)
    if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
        raise RequestError("forbidden", "pages of other sites may not ask this")
    if service.feedback is None:
        raise RequestError(
            "feedback_off", "this service keeps no feedback; start it with --feedback URL"
        )
    return service.feedback


def _admit_about(service: Service, request: Request, key: str) -> Desk:
    # The log names nobody.
    request.state.observed.facts = {"path": "/v1/feedback/people/{key}"}
    desk = admit(service, request, "admin")
    _check_person(key)
    return desk


def _check_person(key: str) -> None:
    if not key.strip() or not key.isprintable():
        raise RequestError("malformed_request", "a person's key has characters that can be read")


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
    labels = service.served().classifier.labels
    if given.label is not None and given.label not in labels and not given.new_label:
        raise RequestError("unknown_label", _unknown_label(given.label, labels))
    heard = None if given.prediction_id is None else _predicted(desk, given.prediction_id)
    recording = None
    if blob is not None:
        if heard is not None and heard.sha256 != await run_in_threadpool(sha256_of, blob):
            raise RequestError(
                "other_audio", "the prediction is about another recording than the file"
            )
        recording = await _heard_now(service, request, blob, deadline)
        heard = heard or recording[0].heard
    if heard is None:
        raise RequestError("malformed_request", "send a prediction_id, or the file")
    opinion = Opinion(
        heard.sha256, given.label, given.who, given.speaker, given.comment, given.source, heard,
        _request_key(request),
    )  # fmt: skip
    return opinion, recording


async def _heard_now(service: Service, request: Request, blob: bytes, deadline: float) -> Recording:
    served = service.served()
    [answer] = await service.answer([blob], served, deadline, request)
    if not isinstance(answer, Prediction):
        raise answer
    return await run_in_threadpool(kept_clip, blob, answer, served), blob


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


def _unknown_label(label: str, labels: tuple[str, ...]) -> str:
    shown = ", ".join(labels[:100]) + (", ..." if len(labels) > 100 else "")
    return (
        f"{label!r} is none of the model's labels, which are {shown}; "
        'send "new_label": true with a new one'
    )


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


def _answers(found: type[BaseModel] | None, status: int = 200) -> dict[int | str, dict[str, Any]]:
    """The answers of a route: ``found``, and every refusal."""
    answers = answers_of(found or ErrorAnswer, ErrorAnswer)
    answers[404] = {"model": ErrorAnswer, "description": "feedback is off, or nothing is there"}
    good = answers.pop(200)
    return answers if found is None else {status: good, **answers}


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
