"""Gives every request an id, counts and times it, and writes one log line."""

import contextlib
import json
import logging
import os
import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson
from starlette.types import Message, Scope, Send

from earful.service.core.metrics import ServiceMetrics

LOGGER = logging.getLogger("earful")
# A client's request id is used if it is safe in a log line and a header.
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
UNMATCHED_ROUTE = "unmatched"
# Probes and scrapes come every few seconds.
_UNLOGGED_ROUTES = ("/livez", "/readyz", "/metrics", "/health")


def _encode(line: dict[str, Any]) -> str:
    with contextlib.suppress(TypeError):  # a lone surrogate that a request holds
        encoded = orjson.dumps(line, default=str)
        if encoded.isascii() and b"\x7f" not in encoded:
            return encoded.decode()
    # Escapes what a terminal would obey.
    return json.dumps(line, default=str, separators=(",", ":"))


class JsonFormatter(logging.Formatter):
    """One JSON object per line: time (UTC), level, event and the record's ``log_fields``."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "log_fields", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _encode(line)


def log(
    level: int, event: str, log_fields: Mapping[str, Any], exception: BaseException | None = None
) -> None:
    """Log an event with its fields, and the traceback of an exception."""
    if not LOGGER.isEnabledFor(level):
        return
    # Logger.log would look up the calling line, which is unused: a line would take a third longer.
    exc_info = (type(exception), exception, exception.__traceback__) if exception else None
    record = logging.LogRecord(LOGGER.name, level, "", 0, event, None, exc_info)
    record.log_fields = dict(log_fields)
    LOGGER.handle(record)


class RequestLog:
    """The id and start time of one request; ``send`` forwards its response and notes the status.

    Handlers find it as ``request.state.request_log``; its ``log_fields`` go into the log line.
    """

    def __init__(self, scope: Scope, send: Send) -> None:
        self._scope, self._send = scope, send
        self._started, self._status = time.perf_counter(), 500
        self.request_id = _request_id(scope)
        self.log_fields: dict[str, Any] = {}
        scope.setdefault("state", {})["request_log"] = self

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            header = (b"x-request-id", self.request_id.encode())
            message["headers"] = [*message.get("headers", ()), header]
        await self._send(message)

    def finish(self, route: str, metrics: ServiceMetrics) -> None:
        """Count the request, time it and log it."""
        seconds = time.perf_counter() - self._started
        metrics.requests.labels(route, self._status).inc()
        metrics.request_seconds.labels(route).observe(seconds)
        if route not in _UNLOGGED_ROUTES:
            scope = self._scope
            log(
                logging.INFO,
                "request",
                {
                    "request_id": self.request_id,
                    "method": scope["method"],
                    "path": scope["path"],
                    "status": self._status,
                    "seconds": round(seconds, 6),
                    "client": (scope.get("client") or ("",))[0],
                    **self.log_fields,
                },
            )


def new_request_id() -> str:
    """An id for a request that has none."""
    return os.urandom(8).hex()


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return str(value, "ascii")
    return new_request_id()
