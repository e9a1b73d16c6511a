"""The HTTP service: ``create_app(settings)`` builds the app with all its routes.

Errors are ``{"error": {"code", "message"}}`` with a stable code (``service.core.errors``). Unusable
audio is a client error, never a 500.
"""

import asyncio
import contextlib
import signal
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.responses import Response
from fastapi_offline import FastAPIOffline

from earful.service.core.errors import RequestError
from earful.service.core.failures import describe_failure
from earful.service.core.settings import Settings
from earful.service.http.api_docs import DESCRIPTION, group_routes
from earful.service.http.app_state import Service
from earful.service.http.dispatch import Dispatcher
from earful.service.http.query_parameters import refuse_unknown_parameters
from earful.service.http.routes.activation_map import add_activation_map_route
from earful.service.http.routes.classify import add_classify_route
from earful.service.http.routes.feedback import add_feedback_routes
from earful.service.http.routes.hf import add_hf_route
from earful.service.http.routes.jobs import add_job_routes
from earful.service.http.routes.model import add_model_route
from earful.service.http.routes.oip import add_oip_routes
from earful.service.http.routes.page import add_page_routes
from earful.service.http.routes.retrain import add_retrain_routes
from earful.service.http.routes.stream import add_stream_routes
from earful.service.label_studio.routes import add_label_studio_routes
from earful.service.server.connection_limits import ConnectionLimits


def create_app(settings: Settings, wyoming: socket.socket | None = None) -> Dispatcher:
    """The service for one model, which is loaded when the service starts.

    On the socket ``wyoming`` it serves wake words as well.

    Raises:
        ModelError: at start, when the model cannot be used.
    """
    service = Service(settings)

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, ConnectionLimits]]:
        limits = ConnectionLimits(settings, service.metrics)
        async with contextlib.AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(service.open())
                await stack.enter_async_context(limits.enforce())
                if wyoming is not None:
                    await stack.enter_async_context(_serve_wake_words(service, wyoming))
            except Exception as error:  # the entry of the service: it ends, and says why
                service.start_failure = describe_failure(error)
                raise
            with _drain_on_sigterm(service, limits):
                yield {"connection_limits": limits}  # the state that protocols receive

    # FastAPI's own /docs loads its scripts from the internet, hence the offline one.
    app = FastAPIOffline(
        title="Earful",
        lifespan=lifespan,
        version="1",
        summary="Classifies speech and audio.",
        description=DESCRIPTION,
        dependencies=[Depends(refuse_unknown_parameters)],
        swagger_ui_parameters={"defaultModelsExpandDepth": 0},  # schemas folded: routes first
    )
    dispatcher = Dispatcher(app, service)
    _add_health_routes(app, service)
    dispatcher.fast_routes["POST", "/v1/classify"] = add_classify_route(app, service)
    dispatcher.fast_routes["POST", "/hf"] = add_hf_route(app, service)
    add_activation_map_route(app, service)
    add_oip_routes(app, service)
    add_label_studio_routes(app, service)
    add_stream_routes(app, service)
    add_feedback_routes(app, service)
    add_retrain_routes(app, service)
    add_model_route(app, service)
    add_job_routes(app, service)
    add_page_routes(app)
    group_routes(app)
    return dispatcher


def _serve_wake_words(
    service: Service, listener: socket.socket
) -> contextlib.AbstractAsyncContextManager[None]:
    from earful.service.wyoming.server import serve_wyoming  # noqa: PLC0415 - of an extra

    return serve_wyoming(service, listener)


def _add_health_routes(app: FastAPI, service: Service) -> None:
    @app.head("/livez", include_in_schema=False)
    @app.get("/livez", summary="The process is alive")
    async def livez() -> dict[str, str]:
        if not (service.batcher.alive or service.model_reloader.current is None):
            raise RequestError("internal_error", "the inference thread has ended")
        return {"status": "alive"}

    @app.head("/readyz", include_in_schema=False)
    @app.get("/readyz", summary="A model is loaded and warm")
    async def readyz() -> dict[str, Any]:
        model, reloader = service.ready().info, service.model_reloader
        problems = {
            "reload_failed": reloader.reload_error,
            # Not a reason to send requests elsewhere: the model that is loaded serves.
            "following_stopped": reloader.watcher.health.reason,
            "model_timeout": service.batcher.timeout_reason,
        }
        return {
            "status": "ready",
            "model": model,
            **{key: reason for key, reason in problems.items() if reason},
        }

    @app.get("/metrics", summary="Prometheus metrics", response_class=Response)
    async def metrics() -> Response:
        return Response(service.metrics.text(), media_type="text/plain; version=0.0.4")


@contextlib.contextmanager
def _drain_on_sigterm(service: Service, limits: ConnectionLimits) -> Iterator[None]:
    """On SIGTERM, report "not ready" for ``drain_seconds`` before the server shuts down.

    Load balancers need that time to send requests elsewhere. SIGINT and a second SIGTERM shut down
    at once.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    close = signal.getsignal(signal.SIGTERM)
    if not in_main_thread or not callable(close):  # not run by a server
        yield
        return
    loop = asyncio.get_running_loop()

    def drain(number: int, frame: Any) -> None:
        wait_seconds = 0.0 if service.draining else service.settings.drain_seconds
        service.draining = limits.draining = True
        loop.call_soon_threadsafe(service.drain_long_recordings, wait_seconds)
        loop.call_soon_threadsafe(loop.call_later, wait_seconds, close, number, frame)

    signal.signal(signal.SIGTERM, drain)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, close)
