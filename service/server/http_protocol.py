"""HTTP connections with limits on what a client may send before it has made a request.

    head     bytes, headers and time to its end       431 ``headers_too_large``, 408 ``too_slow``
    body     bytes between pieces of the body (chunk extensions, trailers)
    queue    requests sent before the first is answered
    writes   time in which nothing of a response is read

Uvicorn parses and answers. Bytes are counted for each piece received, not for each header.
"""

import asyncio
import logging
import re
from itertools import chain
from typing import Any

import httptools
from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.server import ServerState

from earful.service.core.errors import RequestError, error_response, malformed
from earful.service.core.host_names import parse_host
from earful.service.core.request_log import log
from earful.service.server.connection_limits import ConnectionLimits, WriteWatch

# Of the request line's target, and of each header of a WebSocket, whose parser has this limit.
MAX_LINE_BYTES = 8_192
# Requests that wait for the response of the one before them.
MAX_QUEUED_REQUESTS = 32
# A body that pauses for longer is no reason to refuse others when there is no room.
STALLED_BODY_SECONDS = 1.0
# After a refusal, what is still received is discarded: a close would discard the response.
_LINGER_SECONDS, _LINGER_BYTES = 1.0, 1 << 20
_BODY_HEADERS = (b"content-length", b"transfer-encoding")
# ": " and the end of the line.
_SEPARATOR_BYTES = 4


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection; ``connection_limits`` of the app's state has the limits of its worker."""

    # Faster than more entries in uvicorn's instances, whose dictionary is nearly full (30 keys).
    __slots__ = (
        "_head_begun",
        "_in_head",
        "_in_pieces",
        "_is_closing_for_others",
        "_is_ended",
        "_is_split_head",
        "_limits",
        "_made_progress",
        "_n_discarded",
        "_n_overhead",
        "_n_piece",
        "_order",
        "_received_at",
        "_refusal",
        "_running",
        "_since",
        "_writes",
    )

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._limits: ConnectionLimits = app_state["connection_limits"]
        self._limits.connections = server_state.connections
        self._writes = WriteWatch()
        self._since, self._order = self._limits.now, next(self._limits.activity_numbers)
        self._received_at = self._since
        # Between two requests the head of the next one is awaited.
        self._in_head, self._head_begun, self._is_split_head = True, False, False
        # Heads and chunked bodies are parsed in pieces: what is too large is not parsed to its end.
        self._in_pieces = True
        self._is_closing_for_others = False
        # Of bytes that are neither the start of a head nor of a body: how many in a row.
        self._n_overhead, self._n_piece, self._made_progress = 0, 0, False
        self._running: RequestResponseCycle | None = None
        self._refusal: RequestError | None = None
        self._is_ended = False
        self._n_discarded = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        has_room = self._limits.has_room()
        super().connection_made(transport)
        if not has_room:
            self._limits.count_closed("too_many")
            self._refuse(_TOO_MANY)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._running is not None:  # uvicorn tells only the last of several requests
            self._running.disconnected = True
            self._running.message_event.set()
        if self._is_closing_for_others:
            self._limits.n_closing -= 1

    def data_received(self, data: bytes) -> None:
        self._unset_keepalive_if_required()
        while data and not self._is_ended:
            n_bytes = self._limits.max_header_bytes if self._in_pieces else len(data)
            piece, data = data[:n_bytes], data[n_bytes:]
            self._parse(piece)
        if data:
            self._discard(len(data))

    def _parse(self, piece: bytes) -> None:
        self._made_progress, self._n_piece = False, len(piece)
        try:
            self.parser.feed_data(piece)
        except httptools.HttpParserError:
            self._refuse(self._refusal or _INVALID)
        except httptools.HttpParserUpgrade:
            if self._should_upgrade():
                self._is_ended = True
                self.handle_websocket_upgrade()
        else:
            self._check_overhead()

    def _check_overhead(self) -> None:
        limits = self._limits
        self._is_split_head = self._in_head
        self._n_overhead = 0 if self._made_progress else self._n_overhead + self._n_piece
        if self._n_overhead > limits.max_header_bytes:
            self._refuse(_too_many_bytes(limits.max_header_bytes))
        elif self.headers and len(self.headers) > limits.max_headers:
            self._refuse(_too_many_headers(limits.max_headers))

    # Callbacks of the parser, several for each request. What they raise ends `feed_data`.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head_begun, self._is_split_head, self._made_progress = True, False, True
        self._since, self._order = self._limits.now, next(self._limits.activity_numbers)

    def on_headers_complete(self) -> None:
        upgrades = self.parser.should_upgrade()
        if upgrades or not self._is_small_head():
            self._check_head()
        super().on_headers_complete()
        self._in_head, self._in_pieces, self._made_progress = False, False, True
        self._since = self._received_at = self._limits.now
        if not upgrades:
            self.headers = []  # of trailers, which are not the request's headers
            if self._limits.draining:
                self.cycle.keep_alive = False

    def on_chunk_header(self) -> None:
        self._in_pieces = self._made_progress = True

    def on_body(self, body: bytes) -> None:
        self._made_progress, self._received_at = True, self._limits.now
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head, self._in_pieces, self._head_begun = True, True, False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _is_small_head(self) -> bool:
        """Whether a head is within all limits by what is known without looking at each header."""
        limits = self._limits
        return (
            not self._is_split_head
            and self._n_piece <= limits.max_header_bytes
            and len(self.headers) <= limits.max_headers
            and len(self.url) <= MAX_LINE_BYTES
            and self.url[:1] == b"/"
            and not self.pipeline
        )

    def _check_head(self) -> None:
        limits, headers = self._limits, self.headers
        n_bytes = len(self.url) + sum(map(len, chain.from_iterable(headers)))
        if n_bytes + _SEPARATOR_BYTES * len(headers) > limits.max_header_bytes:
            self._fail(_too_many_bytes(limits.max_header_bytes))
        if len(headers) > limits.max_headers:
            self._fail(_too_many_headers(limits.max_headers))
        if len(self.url) > MAX_LINE_BYTES:
            self._fail(_TARGET_TOO_LONG)
        if not self.url.startswith(b"/"):
            self._check_target()
        if len(self.pipeline) >= MAX_QUEUED_REQUESTS:
            self._fail(_QUEUE_FULL)
        if self.parser.should_upgrade():
            self._check_upgrade()

    def _check_target(self) -> None:
        """A target that names a host, as for a proxy, must name that of the header."""
        _, _, rest = self.url.partition(b"://")
        host = re.split(rb"[/?#]", rest, maxsplit=1)[0]
        named = [value.strip() for name, value in self.headers if name == b"host"]
        if parse_host(host) is None or [parse_host(host)] != [parse_host(n) for n in named]:
            self._fail(_OTHER_TARGET)

    def _check_upgrade(self) -> None:
        """Refuse what the WebSocket's own parser would refuse without a response."""
        if any(len(n) + len(v) + _SEPARATOR_BYTES > MAX_LINE_BYTES for n, v in self.headers):
            self._fail(_too_many_bytes(MAX_LINE_BYTES))
        is_get = self.parser.get_method() == b"GET" and self.parser.get_http_version() == "1.1"
        has_body = any(n in _BODY_HEADERS for n, _ in self.headers)
        # Behind a request without a response, which would be written into the stream.
        if self._should_upgrade() and (has_body or not is_get or not self._is_answered()):
            self._fail(_INVALID)

    def _fail(self, error: RequestError) -> None:
        self._refusal = error
        raise error

    # Time limits.

    def check_time(self, now: float) -> None:
        settings = self._limits.settings
        if self._writes.is_stalled(self.transport, now, settings.write_stall_seconds):
            self._limits.count_closed("not_reading")
            self.transport.abort()
        elif not self._is_answered():
            self._since = now
        # Between requests uvicorn's own timer runs.
        elif self.timeout_keep_alive_task is None and now - self._since > settings.header_seconds:
            self._end_slow()

    def idle_order(self) -> int | None:
        is_open = not (self._is_closing_for_others or self.transport.is_closing())
        return self._order if is_open and (self._is_answered() or self._awaits_body()) else None

    def close_idle(self) -> None:
        self._is_closing_for_others = True
        self.transport.close()

    def _awaits_body(self) -> bool:
        """Whether nothing has come for a moment of the body of the only request."""
        cycle = self.cycle
        is_waiting = cycle.more_body and not (self.pipeline or cycle.response_started)
        return is_waiting and self._limits.now - self._received_at > STALLED_BODY_SECONDS

    def _is_answered(self) -> bool:
        """Whether there is a response to every request whose head is complete."""
        return self.cycle is None or self.cycle.response_complete

    def _end_slow(self) -> None:
        if self._is_ended or self.transport.is_closing():
            return
        self._limits.count_closed("slow_headers" if self._in_head else "slow_body")
        if self._in_head and self._head_begun:
            seconds = self._limits.settings.header_seconds
            message = f"the request's head did not arrive within {seconds:g} s"
            self._refuse(RequestError("too_slow", message))
        else:
            self.transport.close()

    # Refusals.

    def _refuse(self, error: RequestError) -> None:
        """Read no more, and respond with the error where a response is due now."""
        self._is_ended = True
        self._limits.metrics.rejected.labels(error.code).inc()
        client = self.client[0] if self.client else ""
        log(logging.INFO, "connection_refused", {"code": error.code, "client": client})
        if self._in_head and not self._is_answered():
            self.cycle.keep_alive = False  # the responses before are sent, then it is closed
        elif self._in_head or self._may_respond():
            self._respond(error)
        else:
            self.transport.close()

    def _may_respond(self) -> bool:
        """Whether the request whose body is received is the next one to be responded to."""
        return not (self._is_answered() or self.cycle.response_started or self.pipeline)

    def _respond(self, error: RequestError) -> None:
        response = error_response(error.code, str(error), headers={"Connection": "close"})
        lines = [STATUS_LINE[response.status_code]]
        for name, value in [*self.server_state.default_headers, *response.raw_headers]:
            lines.append(name + b": " + value + b"\r\n")
        if self.cycle is not None:  # the app finds the client disconnected
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.write(b"".join(lines) + b"\r\n" + bytes(response.body))
        self.transport.write_eof()
        self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

    def _discard(self, n_bytes: int) -> None:
        self._n_discarded += n_bytes
        if self._n_discarded > _LINGER_BYTES and self._is_answered():
            self.transport.abort()


_INVALID = malformed("this is not a valid HTTP request")
_TOO_MANY = RequestError("too_many_connections", "too many connections are open; try again later")
_QUEUE_FULL = RequestError("queue_full", "too many requests wait on this connection")
_OTHER_TARGET = malformed(
    "the request's target must be a path, or name the host of its Host header"
)
_TARGET_TOO_LONG = RequestError(
    "headers_too_large", f"the request's URL has at most {MAX_LINE_BYTES} bytes"
)


def _too_many_bytes(max_bytes: int) -> RequestError:
    return RequestError("headers_too_large", f"at most {max_bytes} bytes of headers are accepted")


def _too_many_headers(max_headers: int) -> RequestError:
    return RequestError("headers_too_large", f"at most {max_headers} headers are accepted")
