"""Runs the app in one or several processes, with settings of environment and command line."""

import importlib.util
import logging
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import uvicorn
from pydantic import ValidationError
from uvicorn.config import STARTUP_FAILURE

from earful.models.bundle.bundle import open_bundle
from earful.models.bundle.call_watcher import guard_process
from earful.models.bundle.device import Device
from earful.models.registry.find_model import find_model
from earful.models.registry.shipped import DEFAULT_REGISTRY, SHIPPED_MODEL
from earful.service.core.echo import echo
from earful.service.core.host_names import SETTING as ALLOWED_HOSTS_SETTING
from earful.service.core.host_names import is_name
from earful.service.core.metrics import MULTIPROCESS_DIR_VARIABLE
from earful.service.core.request_log import LOGGER, JsonFormatter, log
from earful.service.core.settings import MAX_FRAME_BYTES, SHUTDOWN_TIMEOUT_SECONDS, Settings
from earful.service.feedback.schema import check_feedback_database
from earful.service.jobs.job_folder import check_jobs_folder
from earful.service.server.graceful_server import (
    GracefulServer,
    GracefulWorkers,
    ServerError,
    bind_socket,
)

if TYPE_CHECKING:
    from earful.service.http.dispatch import Dispatcher

# The inference thread and the event loop hand over to each other many times a second.
SWITCH_SECONDS = 0.0005
_NOT_STARTED = "the service did not start; the reason is logged above"
_PROTOCOLS = "earful.service.server"
# A worker that does not respond to its parent for this long is replaced.
_HEALTH_SECONDS = 10


def run_server(
    model: str | None,
    host: str,
    port: int,
    device: Device,
    *,
    registry: str = DEFAULT_REGISTRY,
    reject: bool = False,
    workers: int = 1,
    wyoming_port: int | None = None,
    feedback: str | None = None,
    save_recordings: str | None = None,
) -> None:
    """Serve with ``workers`` processes until a signal stops it; then exits with 0.

    Raises:
        ModelError: the model cannot be used.
        ServerError: the address is not available, or a setting is invalid.
        FeedbackError: the configured feedback database cannot be used.
        JobsError: the configured folder of jobs cannot be used.
    """
    # Uvicorn raises the signal again after shutdown; stopping on a signal is a success.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _exit_stopped)
    model_summary = _check_model(find_model(model, registry), device)
    overrides = {
        "feedback_url": feedback,
        "save_recordings": save_recordings,
        "allowed_hosts": with_own_name(host),
    }
    settings = read_settings(
        model=str(SHIPPED_MODEL) if model is None else model,
        registry=registry,
        device=device,
        reject=reject,
        **{name: value for name, value in overrides.items() if value is not None},
    )
    _check_wyoming(wyoming_port, workers)
    check_feedback_database(settings)
    check_jobs_folder(settings)
    listener = bind_socket(host, port)
    wyoming = None if wyoming_port is None else bind_socket(host, wyoming_port, "--wyoming")
    url = f"http://{_display_address(listener)}"
    echo(f"serving {model_summary} at {url}", err=True)
    if wyoming is not None:
        echo(f"wake words at tcp://{_display_address(wyoming)} (Wyoming)", err=True)
    echo(f"try: curl -F file=@clip.wav {url}/v1/classify, or open {url}", err=True)
    if workers > 1:
        if _serve_with_workers(settings, listener, workers):
            _exit_stopped()
        raise ServerError(_NOT_STARTED)
    server = GracefulServer(_config(lambda: _app(settings, wyoming), settings))
    try:
        server.run(sockets=[listener])
    except SystemExit as request:
        if request.code != STARTUP_FAILURE:
            raise
        raise ServerError(_NOT_STARTED) from None


def _check_wyoming(port: int | None, workers: int) -> None:
    if port is None:
        return
    if workers > 1:
        raise ServerError("--wyoming needs --workers 1: satellites keep their connections")
    if importlib.util.find_spec("wyoming") is None:
        raise ServerError(
            "--wyoming needs the package wyoming; install it with: "
            "uv sync --inexact --extra wyoming"
        )


def _display_address(listener: socket.socket) -> str:
    host, port, *_ = listener.getsockname()
    return f"[{host}]:{port}" if listener.family == socket.AF_INET6 else f"{host}:{port}"


def with_own_name(host: str) -> str | None:
    """The allowed hosts with the name to listen on; None if it is an address or invalid."""
    if not is_name(host.lower()):
        return None
    return f"{os.environ.get(ALLOWED_HOSTS_SETTING, '')},{host}"


def _exit_stopped(*_: object) -> NoReturn:
    echo("stopped serving", err=True)
    sys.exit(0)


def worker_app() -> "Dispatcher":
    """The app of one worker process, from the environment alone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent stops its workers
    return _app(Settings())


def _app(settings: Settings, wyoming: socket.socket | None = None) -> "Dispatcher":
    """The app, created in the serving process: sessions and threads do not survive a fork.

    The parent of several workers does not call this, and starts in half the time without FastAPI.
    """
    from earful.service.server.app import create_app  # noqa: PLC0415

    sys.setswitchinterval(SWITCH_SECONDS)
    # The inference thread cannot be freed of a model that does not end: a new process can serve.
    guard_process(lambda reason: log(logging.CRITICAL, "model_stuck", {"reason": reason}), 1)
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    for logger in (LOGGER, logging.getLogger("uvicorn")):
        logger.handlers = [handler]
        logger.propagate = False
    LOGGER.setLevel(settings.log_level.upper())
    return create_app(settings, wyoming)


def _serve_with_workers(settings: Settings, listener: socket.socket, workers: int) -> bool:
    """Serve until a signal stops it; whether it has started."""
    os.environ |= {
        "EARFUL_MODEL": settings.model,
        "EARFUL_REGISTRY": settings.registry,
        "EARFUL_DEVICE": settings.device,
        "EARFUL_REJECT": str(settings.reject),
        "EARFUL_SAVE_RECORDINGS": settings.save_recordings,
        "EARFUL_ALLOWED_HOSTS": settings.allowed_hosts,
    }
    if settings.feedback_url is not None:
        os.environ["EARFUL_FEEDBACK_URL"] = settings.feedback_url.get_secret_value()
    with _shared_metrics():
        config = _config("earful.service.server.server:worker_app", settings, workers)
        parent = GracefulWorkers(config, listener, settings.drain_seconds)
        parent.run()
    return not parent.has_failed


@contextmanager
def _shared_metrics() -> Iterator[None]:
    """A folder in which worker processes write their metrics."""
    with tempfile.TemporaryDirectory(prefix="earful-metrics-") as folder:
        os.environ[MULTIPROCESS_DIR_VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[MULTIPROCESS_DIR_VARIABLE]


def _config(app: Any, settings: Settings, workers: int = 1) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        factory=True,
        workers=workers,
        # By name: the parent of several workers starts without them.
        http=f"{_PROTOCOLS}.http_protocol:LimitedHttpProtocol",
        ws=f"{_PROTOCOLS}.stream_protocol:LimitedStreamProtocol",
        timeout_keep_alive=settings.keep_alive_seconds,
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        ws_max_size=MAX_FRAME_BYTES + 1024,
        timeout_graceful_shutdown=SHUTDOWN_TIMEOUT_SECONDS,
        timeout_worker_healthcheck=_HEALTH_SECONDS,
    )


def _check_model(model: Path, device: Device) -> str:
    """Open the model once, so that its errors are reported at start; returns a summary."""
    bundle = open_bundle(model, device)
    return f"{model} ({len(bundle.metadata.labels)} labels, {bundle.provider})"


def read_settings(**overrides: Any) -> Settings:
    """Settings from the environment, overridden by those of the command line.

    Raises:
        ServerError: an unknown ``EARFUL_*`` variable, or an invalid value.
    """
    known = {f"EARFUL_{name.upper()}" for name in Settings.model_fields}
    unknown = sorted(n for n in os.environ if n.startswith("EARFUL_") and n not in known)
    if unknown:
        raise ServerError(
            f"unknown setting {', '.join(unknown)}; accepted are {', '.join(sorted(known))}"
        )
    try:
        return Settings(**overrides)
    except ValidationError as error:
        raise ServerError("; ".join(_validation_message(e) for e in error.errors())) from error


def _validation_message(error: Any) -> str:
    if not error["loc"]:  # about several settings, or about keys, which are not shown
        return str(error["msg"]).removeprefix("Value error, ")
    return f"EARFUL_{str(error['loc'][0]).upper()} is {error['input']!r}: {error['msg']}"
