"""``/v1/retrain``: start a retraining from feedback, and see how far it is.

It is a process of its own, which outlives the worker that started it and works on the registry that
the service follows; the new champion is taken up like every other.
"""

import datetime
import importlib.util
import os
import subprocess
import threading
from dataclasses import asdict
from typing import Any

from fastapi import FastAPI, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from earful.models.registry.records import CHAMPION
from earful.models.registry.source import RegistrySource
from earful.service.core.errors import RequestError
from earful.service.core.retrain_lock import Status, Work, WorkError
from earful.service.http.app_state import Service
from earful.service.http.routes.admission import admit
from earful.service.http.schemas import ErrorAnswer, answers_of

_LOG, _START = "log.txt", "start"
# A process that has not begun to work by then never will.
_STARTING_SECONDS = 60.0


_REFUSED: dict[int | str, dict[str, Any]] = {
    404: {"model": ErrorAnswer, "description": "feedback is off"},
    409: {"model": ErrorAnswer, "description": "no champion is followed, or one is going on"},
    501: {"model": ErrorAnswer, "description": "training is not installed here"},
}


class RetrainRequest(BaseModel):
    """What the retraining may do; the defaults are those of ``earful retrain``."""

    model_config = ConfigDict(extra="forbid")

    add_labels: bool = Field(False, description="accept labels that the model does not know")
    keep: bool = Field(False, description="never promote; keep it as challenger")
    skip_bad: bool = Field(True, description="leave out what cannot be used, and list it")
    epochs: int | None = Field(None, ge=1, le=10_000)


class RetrainAnswer(BaseModel):
    """How far a retraining is."""

    name: str = Field(examples=["digits"])
    state: str = Field(examples=["running"], description="idle, running, done, failed or killed")
    stage: str = Field("", examples=["train"])
    done: int = 0
    total: int = 0
    message: str = ""
    started: str | None = None
    pid: int | None = None


def add_retrain_routes(app: FastAPI, service: Service) -> None:
    """Put the routes on the app; both need the scope ``admin``."""

    @app.post(
        "/v1/retrain",
        summary="Retrain with the feedback",
        status_code=202,
        responses=answers_of(RetrainAnswer, ErrorAnswer, status=202) | _REFUSED,
    )
    async def start(request: Request, wanted: RetrainRequest | None = None) -> dict[str, Any]:
        # A form that another site's page sends here needs no permission; JSON does.
        if (
            wanted is not None
            and request.headers.get("content-type", "").partition(";")[0] != "application/json"
        ):
            raise RequestError("malformed_request", "send JSON (Content-Type: application/json)")
        admit(service, request, "admin")
        work = _work(service)
        await run_in_threadpool(_start, service, work, wanted or RetrainRequest())
        return await run_in_threadpool(_answer, work)

    @app.get(
        "/v1/retrain",
        summary="How far the retraining is",
        responses=answers_of(RetrainAnswer, ErrorAnswer) | _REFUSED,
    )
    async def look(request: Request) -> dict[str, Any]:
        service.keys.check(request.headers, "admin")
        return await run_in_threadpool(_answer, _work(service))


def _work(service: Service) -> Work:
    source = service.host.source
    if not isinstance(source, RegistrySource) or source.which != CHAMPION:
        raise RequestError(
            "no_registry",
            "this service follows no champion; start it with --model NAME of a registry, so that a "
            "new one can take over",
        )
    return Work(service.settings.retrain_dir / source.name)


def _start(service: Service, work: Work, wanted: RetrainRequest) -> None:
    if importlib.util.find_spec("torch") is None:
        raise RequestError(
            "no_training",
            "training is not installed here; install it with: uv sync --inexact --extra train",
        )
    with work.starting():
        if work.is_running() or _is_starting(_status(work)):
            raise RequestError("already_running", "a retraining is going on; GET /v1/retrain tells")
        work.tell(_START)
        process = _spawn(service, work, wanted)
    threading.Thread(target=_note_its_end, args=[process, work], daemon=True).start()


def _spawn(service: Service, work: Work, wanted: RetrainRequest) -> "subprocess.Popen[bytes]":
    settings = service.settings
    # Not as an argument, which everybody on the machine can read: it may hold a password.
    places = {
        "EARFUL_FEEDBACK_URL": settings.database_url() or "off",
        "EARFUL_AUDIO_DIR": str(settings.audio_dir),
    }
    with (work.folder / _LOG).open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - its arguments are ours
            [*settings.command, *_arguments(service, work, wanted)],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env=os.environ | places,
        )  # fmt: skip


def _status(work: Work) -> Status | None:
    """What the last retraining said; None where that is unreadable, as a new one writes it anew."""
    try:
        return work.status()
    except WorkError:
        return None


def _is_starting(status: Status | None) -> bool:
    """Whether a process was started that has not taken the lock yet."""
    if status is None or status.state != "running" or status.stage != _START:
        return False
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(status.started)
    return age.total_seconds() < _STARTING_SECONDS


def _note_its_end(process: "subprocess.Popen[bytes]", work: Work) -> None:
    """A process that ends before it can say anything left its reason in the log."""
    process.wait()
    status = _status(work)
    if status is not None and status.stage == _START:
        lines = (work.folder / _LOG).read_text("utf-8", "replace").splitlines()
        work.tell(_START, state="failed", message=lines[-1] if lines else "it was killed")


def _arguments(service: Service, work: Work, wanted: RetrainRequest) -> list[str]:
    settings = service.settings
    flags = {
        "--add-labels": wanted.add_labels, "--keep": wanted.keep, "--skip-bad": wanted.skip_bad,
    }  # fmt: skip
    return [
        "retrain", work.folder.name, "--from-feedback", "--registry", settings.registry,
        "--work", str(settings.retrain_dir), *(flag for flag, on in flags.items() if on),
        *(["--epochs", str(wanted.epochs)] if wanted.epochs else []),
    ]  # fmt: skip


def _answer(work: Work) -> dict[str, Any]:
    name = work.folder.name
    try:
        status = work.status()
    except WorkError as error:
        return {"name": name, "state": "failed", "message": str(error)}
    if status is None:
        return {"name": name, "state": "idle"}
    found = {"name": name, **asdict(status)}
    if status.state == "running" and not (_is_starting(status) or work.is_running()):
        found["state"] = "killed"
    return found
