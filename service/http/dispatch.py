"""The entry point of every request: counts and logs it, and turns every error into a response.

A request to another host's name, or one that pages of other sites may not send, is refused first:

    to a name that is not the service's own                   421 ``bad_host``
    a write, or a read of feedback, from another site's page  403 ``bad_origin``

Browsers name the page in ``Sec-Fetch-Site``, where the service is on https or localhost, and in
``Origin``. Other clients send neither.

FastAPI's layers take half a millisecond, as long as classifying a file. The busiest routes bypass
them; FastAPI documents these routes and serves all others.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable
from urllib.parse import urlsplit

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
from earful.service.core.host_names import SETTING, AllowedHosts, Host, parse_host
from earful.service.core.request_log import UNMATCHED_ROUTE, RequestLog, log
from earful.service.http.app_state import Service

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


_READS = ("GET", "HEAD", "OPTIONS")
# Reads of what people have sent; others are public, or protected by the browser's own rules.
_PRIVATE_PATHS = ("/v1/feedback", "/v1/review", "/v1/jobs", "/v1/retrain")
_OWN_SITE = (b"same-origin", b"none")
_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}


def check_source(scope: Scope, allowed: AllowedHosts) -> None:
    """Check the headers of a request or of a WebSocket's handshake.

    Raises:
        RequestError: ``malformed_request`` (not one valid ``Host``), ``bad_host`` or
            ``bad_origin``.
    """
    hosts, origins, sites = [], [], []
    for name, value in scope["headers"]:
        if name == b"host":
            hosts.append(value.strip())
        elif name == b"origin":
            origins.append(value)
        elif name == b"sec-fetch-site":
            sites.append(value)
    host = _check_host(hosts, allowed)
    if (origins or sites) and _is_guarded(scope):
        _check_origin(host, origins, sites, allowed)


def _check_host(values: list[bytes], allowed: AllowedHosts) -> Host:
    host = parse_host(values[0]) if len(values) == 1 else None
    if host is None:
        raise malformed("send one Host header: NAME or ADDRESS, and a port")
    if not allowed.allows(host):
        raise RequestError(
            "bad_host",
            f"this service does not answer for {host.name[:80]!r}; if that is one of its names, "
            f"add it to {SETTING}",
        )
    return host


def _is_guarded(scope: Scope) -> bool:
    if scope["type"] == "websocket" or scope["method"] not in _READS:
        return True
    path: str = scope["path"]
    return path.startswith(_PRIVATE_PATHS)


def _check_origin(
    host: Host, origins: Iterable[bytes], sites: Iterable[bytes], allowed: AllowedHosts
) -> None:
    if any(site not in _OWN_SITE for site in sites):
        raise RequestError("bad_origin", "pages of other sites may not send this request")
    for origin in origins:
        if not _is_own(origin, host, allowed):
            raise RequestError(
                "bad_origin",
                f"a page of {origin[:80].decode('latin-1')!r} may not send this request to "
                f"{host.name[:80]!r}; if both are this service, let the proxy pass on Host, or add "
                f"the page's name to {SETTING}",
            )


def _is_own(origin: bytes, host: Host, allowed: AllowedHosts) -> bool:
    """Whether a page's origin is the service: by the host, or by a name that is listed for it."""
    try:
        parts = urlsplit(origin.decode("ascii"))
        port = parts.port
    except ValueError:
        return False
    default_port = _DEFAULT_PORTS.get(parts.scheme)
    page = parse_host(parts.netloc.encode())
    if default_port is None or page is None:
        return False
    if page.name == host.name:
        # A proxy that terminates TLS passes on a Host without a port.
        return (port or default_port) == (host.port or default_port)
    return port in (None, default_port) and allowed.lists(page.name)
