"""The entry point of every request: counts and logs it, and turns every error into a response.

FastAPI's layers take half a millisecond, as long as classifying a file. The busiest routes bypass
them; FastAPI documents these routes and serves all others.
"""

import logging
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive, Scope, Send

from earful.data.audio.decode import AudioError
from earful.data.text.json_input import describe_problems
from earful.service.core.errors import (
    COUNTED_PER_FILE,
    RequestError,
    error_response,
    http_status,
    json_response,
    malformed,
)
from earful.service.core.request_log import UNMATCHED_ROUTE, RequestLog, log
from earful.service.http.app_state import Service
from earful.service.http.request_source import check_source

Handler = Callable[[Request], Awaitable[Response]]
# Clients of these routes expect {"error": "a sentence"}.
_PLAIN_ERROR_ROUTES = ("/hf", "/v2")


class Dispatcher:
    """The ASGI app around ``app``; ``fast_routes`` has handlers by (method, path)."""

    def __init__(self, app: FastAPI, service: Service) -> None:
        self.app, self.service = app, service
        self._allowed_hosts = service.settings.hosts()
        self.fast_routes: dict[tuple[str, str], Handler] = {}
        app.add_exception_handler(RequestError, self._handle_error)
        app.add_exception_handler(AudioError, self._handle_error)
        app.add_exception_handler(HTTPException, self._handle_error)
        app.add_exception_handler(RequestValidationError, self._handle_error)
        app.add_exception_handler(Exception, self._handle_unexpected)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, self._without_traceback(send))
            return
        if scope["type"] == "websocket":
            await self._open_stream(scope, receive, send)
            return
        request_log = RequestLog(scope, send)
        handler = self.fast_routes.get((scope["method"], scope["path"]))
        try:
            refusal = self._refusal(scope)
            if refusal is not None:
                response = await self._handle_error(Request(scope, receive), refusal)
                await response(scope, receive, request_log.send)
            elif handler is None:
                await self.app(scope, receive, request_log.send)
            else:
                response = await self._call_handler(handler, Request(scope, receive))
                await response(scope, receive, request_log.send)
        finally:
            route = getattr(scope.get("route"), "path", UNMATCHED_ROUTE)
            request_log.finish(scope["path"] if handler else route, self.service.metrics)

    async def _open_stream(self, scope: Scope, receive: Receive, send: Send) -> None:
        refusal = self._refusal(scope)
        if refusal is None:
            await self.app(scope, receive, send)
            return
        self.service.metrics.rejected.labels(refusal.code).inc()
        await error_response(refusal.code, str(refusal))(scope, receive, send)

    def _without_traceback(self, send: Send) -> Send:
        """The server logs what it is sent: the sentence of a failed start, not its traceback."""

        async def send_sentence(message: Message) -> None:
            if message["type"] == "lifespan.startup.failed" and self.service.start_failure:
                message["message"] = self.service.start_failure
            await send(message)

        return send_sentence

    def _refusal(self, scope: Scope) -> RequestError | None:
        try:
            check_source(scope, self._allowed_hosts)
        except RequestError as error:
            return error
        return None

    async def _call_handler(self, handler: Handler, request: Request) -> Response:
        try:
            return await handler(request)
        except (RequestError, AudioError) as error:
            return await self._handle_error(request, error)
        except Exception as exception:  # noqa: BLE001 - nothing above sends a response
            return await self._handle_unexpected(request, exception)

    async def _handle_error(self, request: Request, error: Exception) -> Response:
        """The response for an error of ours or of the framework (unknown route, wrong method)."""
        if isinstance(error, RequestValidationError):
            error = malformed(describe_problems(error.errors()))
        if isinstance(error, HTTPException):
            status, message, headers = error.status_code, str(error.detail), error.headers
            code = {404: "no_such_route", 405: "method_not_allowed"}.get(status, "http_error")
        elif isinstance(error, RequestError | AudioError):
            status, message, code = http_status(error.code), str(error), error.code
            headers = error.headers if isinstance(error, RequestError) else None
            if isinstance(error, RequestError) and code not in COUNTED_PER_FILE:
                self.service.metrics.rejected.labels(code).inc()
        else:
            raise error
        if request.url.path.startswith(_PLAIN_ERROR_ROUTES):
            return json_response({"error": message}, status, headers)
        return error_response(code, message, status, headers)

    async def _handle_unexpected(self, request: Request, exception: Exception) -> Response:
        """The response for an unexpected exception; its traceback is logged."""
        log(
            logging.ERROR,
            "unexpected_error",
            {"request_id": request.state.request_log.request_id},
            exception,
        )
        message = "the service failed on this request"
        if request.url.path.startswith(_PLAIN_ERROR_ROUTES):
            return json_response({"error": message}, 500)
        return error_response("internal_error", message, 500)
