"""``/v1/retrain``: start a retraining from feedback, and read its progress.

The retraining is a process that outlives the worker that started it. It registers the new version
in the registry that the service follows, and the service reloads a new champion as usual.
"""

import datetime
import importlib.util
import os
import shlex
import subprocess
from dataclasses import asdict
from typing import Any, Literal

from fastapi import FastAPI, Request
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from earful.data.text.json_input import STRICT
from earful.models.registry.errors import RegistryError
from earful.models.registry.records import CHAMPION
from earful.models.registry.registry import Registry
from earful.models.registry.registry_source import RegistrySource
from earful.models.registry.standing import read_standing
from earful.service.core.background import BackgroundThread
from earful.service.core.errors import RequestError, malformed
from earful.service.core.retrain_lock import RetrainFolder, RetrainFolderError, RetrainStatus
from earful.service.http.app_state import Service
from earful.service.http.request_body import MAX_JSON_BYTES, RequestBody, parse_body
from earful.service.http.routes.admission import require_feedback
from earful.service.http.routes.feedback_bodies import AnnotatorText
from earful.service.http.schemas import ErrorResponse, json_body, openapi_responses

_LOG, _START = "log.txt", "start"
# A process that does not hold the lock by then has failed; `_record_exit` reports one that ends
# earlier. On a machine that serves under load, importing torch has taken over a minute.
_STARTING_SECONDS = 300.0
_MAX_TRUSTED = 100


_REFUSED = {
    404: "feedback is off",
    409: "the service follows no champion, or a retraining is running",
    501: "the training dependencies are not installed",
}


class RetrainRequestBody(BaseModel):
    """Options of the retraining, as those of ``earful retrain``."""

    model_config = STRICT

    add_labels: bool = Field(False, description="add labels that the model does not have")
    no_promote: bool = Field(False, description="never promote; register the version as challenger")
    skip_bad: bool = Field(True, description="skip unusable recordings and list them")
    epochs: int | None = Field(None, ge=1, le=10_000)
    trust: list[AnnotatorText] = Field(
        [],
        max_length=_MAX_TRUSTED,
        description="annotators whose labels may overrule curated ones, or `all`; without them two "
        "annotators of different senders must agree",
        examples=[["anna"]],
    )


class ChangedLabel(BaseModel):
    """A clip of the model's data whose label the feedback contradicts."""

    filename: str
    start: float | None = Field(description="seconds in the file; null for all of it")
    end: float | None
    old: str
    new: str
    by: str = Field(examples=["anna, bob"], description="annotators who gave the new label")


class RetrainResponse(BaseModel):
    """Progress of a retraining."""

    name: str = Field(examples=["digits"])
    state: str = Field(examples=["running"], description="idle, running, done, failed or killed")
    stage: str = Field("", examples=["train"])
    done: int = 0
    total: int = 0
    message: str = ""
    started: str | None = None
    pid: int | None = None
    version: int | None = Field(None, description="that it registered, or found as its own")
    role: Literal["champion", "challenger", "none", "deleted"] | None = Field(
        None, description="what the version is in the registry now"
    )
    next: str = Field("", description="the command that promotes the version, if it is no champion")
    changed: int = Field(0, description="labels of the model's data that it changes")
    changed_labels: list[ChangedLabel] = Field([], description="the first 20 of them")
    kept: int = Field(0, description="curated labels that it keeps, as too few contradict them")
    kept_labels: list[ChangedLabel] = Field([], description="the first 20 of them")


def add_retrain_routes(app: FastAPI, service: Service) -> None:
    """Add the routes; both need the scope ``admin``."""

    @app.post(
        "/v1/retrain",
        summary="Retrain with the feedback",
        status_code=202,
        openapi_extra=json_body(RetrainRequestBody, required=False),
        responses=openapi_responses(RetrainResponse, ErrorResponse, 202, _REFUSED),
    )
    async def start(request: Request) -> dict[str, Any]:
        service.keys.check(request.headers, "admin")
        with service.open_body(request, service.deadline()) as body:
            options = await _read_options(body)
        require_feedback(service, request, "admin")
        retrain_folder = _retrain_folder(service)
        await run_in_threadpool(_start, service, retrain_folder, options)
        return await run_in_threadpool(status_json, service, retrain_folder)

    @app.get(
        "/v1/retrain",
        summary="Progress of the retraining",
        responses=openapi_responses(RetrainResponse, ErrorResponse, own_errors=_REFUSED),
    )
    async def read_status(request: Request) -> dict[str, Any]:
        service.keys.check(request.headers, "admin")
        return await run_in_threadpool(status_json, service, _retrain_folder(service))


async def _read_options(body: RequestBody) -> RetrainRequestBody:
    # A page of another site can send an empty body or a form without permission, but not JSON.
    if not body.is_json:
        raise malformed("send JSON, as {} (Content-Type: application/json)")
    return parse_body(RetrainRequestBody, await body.read_all(MAX_JSON_BYTES) or b"{}")


def _retrain_folder(service: Service) -> RetrainFolder:
    source = service.model_reloader.source
    if not isinstance(source, RegistrySource) or source.version_or_alias != CHAMPION:
        raise RequestError(
            "no_registry",
            "this service follows no champion; start it with --model NAME, the name of a model in "
            "the registry",
        )
    return RetrainFolder(service.settings.retrain_dir / source.name)


def _start(service: Service, retrain_folder: RetrainFolder, options: RetrainRequestBody) -> None:
    if importlib.util.find_spec("torch") is None:
        raise RequestError(
            "no_training",
            "the training dependencies are not installed; run: uv sync --inexact --extra train",
        )
    with retrain_folder.starting():
        if retrain_folder.is_running() or _is_starting(_status(retrain_folder)):
            raise RequestError("already_running", "a retraining is running; see GET /v1/retrain")
        retrain_folder.write_status(_START)
        try:
            process = _spawn(service, retrain_folder, options)
        except OSError as error:  # else the next one is refused for `_STARTING_SECONDS`
            retrain_folder.write_status(_START, state="failed", message=str(error))
            raise

    def record_exit(thread: BackgroundThread) -> bool:
        _record_exit(process, retrain_folder)
        thread.stop()
        return False

    BackgroundThread("retrain_exit", record_exit, service.metrics).start()


def _spawn(
    service: Service, retrain_folder: RetrainFolder, options: RetrainRequestBody
) -> "subprocess.Popen[bytes]":
    settings = service.settings
    # The URL may hold a password, and everybody on the machine can read arguments.
    environment = {
        "EARFUL_FEEDBACK_URL": settings.database_url() or "off",
        "EARFUL_RECORDINGS_DIR": str(settings.recordings_dir),
    }
    with (retrain_folder.folder / _LOG).open("wb") as log:
        return subprocess.Popen(  # noqa: S603 - of the request's texts, only values of --trust
            [*settings.command, *_arguments(service, retrain_folder, options)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            env=os.environ | environment,
        )


def _status(retrain_folder: RetrainFolder) -> RetrainStatus | None:
    """The status of the last retraining; None if unreadable, as the next one rewrites it."""
    try:
        return retrain_folder.status()
    except RetrainFolderError:
        return None


def _is_starting(status: RetrainStatus | None) -> bool:
    """Whether a process was started that does not hold the lock yet."""
    if status is None or status.state != "running" or status.stage != _START:
        return False
    age = datetime.datetime.now(datetime.UTC) - datetime.datetime.fromisoformat(status.started)
    return abs(age.total_seconds()) < _STARTING_SECONDS  # the clock may have been set back


def _record_exit(process: "subprocess.Popen[bytes]", retrain_folder: RetrainFolder) -> None:
    """Report a process that ended before it wrote a status; its last log line is the reason."""
    process.wait()
    status = _status(retrain_folder)
    if status is not None and status.stage == _START:
        lines = _log_lines(retrain_folder)
        retrain_folder.write_status(
            _START, state="failed", message=lines[-1] if lines else "it was killed"
        )


def _log_lines(retrain_folder: RetrainFolder) -> list[str]:
    try:
        return (retrain_folder.folder / _LOG).read_text("utf-8", "replace").splitlines()
    except OSError:  # it was deleted, say
        return []


def _arguments(
    service: Service, retrain_folder: RetrainFolder, options: RetrainRequestBody
) -> list[str]:
    registry, work = service.settings.registry, str(service.settings.retrain_dir)
    arguments = ["retrain", retrain_folder.folder.name, "--from-feedback"]
    arguments += ["--registry", registry, "--work", work]
    if options.epochs:
        arguments += ["--epochs", str(options.epochs)]
    arguments += [f"--trust={name}" for name in options.trust]  # a name may look like a flag
    flags = {
        "--add-labels": options.add_labels,
        "--no-promote": options.no_promote,
        "--skip-bad": options.skip_bad,
    }
    return arguments + [flag for flag, is_set in flags.items() if is_set]


def status_json(service: Service, retrain_folder: RetrainFolder) -> dict[str, Any]:
    """What ``GET /v1/retrain`` says of the last retraining."""
    name = retrain_folder.folder.name
    is_running = retrain_folder.is_running()  # first: it may end while the status is read
    try:
        status = retrain_folder.status()
    except RetrainFolderError as error:
        return {"name": name, "state": "failed", "message": str(error)}
    if status is None:
        return {"name": name, "state": "idle"}
    content = {"name": name, **asdict(status)}
    del content["result"]
    if status.state == "running" and not (_is_starting(status) or is_running):
        content["state"] = "killed"
    if status.result is not None and status.result.number is not None:
        content |= _result_json(service, name, status.result.number, status.result.reasons)
    return content


def _result_json(
    service: Service, name: str, number: int, reasons: tuple[str, ...]
) -> dict[str, Any]:
    """What the version is now: since the retraining ended it may have been promoted or pruned."""
    try:
        standing = read_standing(Registry(service.settings.registry), name, number)
    except RegistryError as error:
        return {"version": number, "message": str(error)}
    against = () if standing.role == "champion" else reasons
    return {
        "version": number,
        "role": standing.role,
        "next": shlex.join(("earful", *standing.promote)) if standing.promote else "",
        "message": "; ".join([f"version {number} is {standing.text}", *against]),
    }
