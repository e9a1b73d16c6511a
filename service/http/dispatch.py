"""The way in for every request: it is counted and logged, and whatever happens has an answer.

For a request of half a millisecond the layers of FastAPI take as long again. The busiest routes
therefore have a direct way; FastAPI documents them, and serves all others.
"""

import logging
from collections.abc import Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from earful.data.audio.decode import AudioError
from earful.service.core.errors import (
    COUNTED_BY_FILE,
    RequestError,
    error_answer,
    json_answer,
    sentence_of,
    status_of,
)
from earful.service.core.request_log import UNMATCHED, Observed, log
from earful.service.http.app_state import Service

Handler = Callable[[Request], Awaitable[Response]]
# Their clients read {"error": "a sentence"}.
_SENTENCE_ROUTES = ("/hf", "/v2")


class Front:
    """ASGI app around ``app``; ``direct`` has handlers by method and path."""

    def __init__(self, app: FastAPI, service: Service) -> None:
        self.app, self.service = app, service
        self.direct: dict[tuple[str, str], Handler] = {}
        app.add_exception_handler(RequestError, self._refuse)
        app.add_exception_handler(AudioError, self._refuse)
        app.add_exception_handler(HTTPException, self._refuse)
        app.add_exception_handler(RequestValidationError, self._refuse)
        app.add_exception_handler(Exception, self._fail)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        observed = Observed(scope, send)
        handler = self.direct.get((scope["method"], scope["path"]))
        try:
            if handler is None:
                await self.app(scope, receive, observed.send)
            else:
                answer = await self._answer(handler, Request(scope, receive))
                await answer(scope, receive, observed.send)
        finally:
            route = getattr(scope.get("route"), "path", UNMATCHED)
            observed.note(scope["path"] if handler else route, self.service.metrics)

    async def _answer(self, handler: Handler, request: Request) -> Response:
        try:
            return await handler(request)
        except (RequestError, AudioError) as error:
            return await self._refuse(request, error)
        except Exception as fault:  # noqa: BLE001 - nobody above could answer
            return await self._fail(request, fault)

    async def _refuse(self, request: Request, error: Exception) -> Response:
        """Our refusals, and the framework's own (no such route, wrong method) in our shape."""
        if isinstance(error, RequestValidationError):
            error = RequestError("malformed_request", sentence_of(error.errors()))
        if isinstance(error, HTTPException):
            status, message, headers = error.status_code, str(error.detail), error.headers
            code = {404: "no_such_route", 405: "method_not_allowed"}.get(status, "http_error")
        elif isinstance(error, RequestError | AudioError):
            status, message, code = status_of(error.code), str(error), error.code
            headers = error.headers if isinstance(error, RequestError) else None
            if isinstance(error, RequestError) and code not in COUNTED_BY_FILE:
                self.service.metrics.rejected.labels(code).inc()
        else:
            raise error
        if request.url.path.startswith(_SENTENCE_ROUTES):
            return json_answer({"error": message}, status, headers)
        return error_answer(code, message, status, headers)

    async def _fail(self, request: Request, fault: Exception) -> Response:
        """A fault of ours, in the shape of every error; the log has its traceback."""
        log(logging.ERROR, "fault", {"request_id": request.state.observed.request_id}, fault)
        message = "the service failed on this request"
        if request.url.path.startswith(_SENTENCE_ROUTES):
            return json_answer({"error": message}, 500)
        return error_answer("internal_error", message, 500)
