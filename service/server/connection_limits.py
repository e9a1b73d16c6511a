"""Limits on the connections of a worker: how many there are, and how long one may be silent.

One sweep over all connections costs less than a timer for each request. Each moves the clock
``now`` on, so that a request reads no clock; times are off by at most ``SWEEP_SECONDS``.
"""

import asyncio
import contextlib
import itertools
import logging
import os
from collections.abc import AsyncIterator, Collection
from pathlib import Path
from typing import Protocol

from earful.data.system.limits import max_open_files, raise_open_files
from earful.service.core.metrics import ServiceMetrics
from earful.service.core.request_log import log
from earful.service.core.settings import Settings

SWEEP_SECONDS = 0.5
# A process that was suspended, or kept from its event loop, does not blame its clients for it.
_MAX_STEP_SECONDS = 2 * SWEEP_SECONDS
# Of the idle connections, the share that is closed to make room: a search for each new one would
# cost more than serving it.
_CLOSED_SHARE = 8
# A client that reads its response takes at least this much in ``write_stall_seconds``.
_MIN_WRITTEN_BYTES = 16_384
# Files of a worker besides its connections: uploads, the database, libraries.
_OTHER_FILES = 256
_FILE_LIMIT_LOG_SECONDS = 60.0


class Connection(Protocol):
    """A connection of any protocol."""

    def check_time(self, now: float) -> None:
        """End the connection if a time limit has passed at ``now``."""

    def idle_order(self) -> int | None:
        """The number that it took at its last activity; None while a request is in progress.

        One whose client has stopped to send counts as idle.
        """

    def close_idle(self) -> None:
        """Close a connection without a request in progress."""


class ConnectionLimits:
    """The limits of one worker; ``connections`` are those that its server has open.

    ``draining`` is set before the shutdown: connections then end with their next response.
    """

    def __init__(self, settings: Settings, metrics: ServiceMetrics) -> None:
        self.settings, self.metrics = settings, metrics
        self.max_header_bytes, self.max_headers = settings.max_header_bytes, settings.max_headers
        self.connections: Collection[Connection] = ()
        self._file_limit_logged_at = float("-inf")
        self.now = 0.0
        self.draining = False
        self.activity_numbers = itertools.count()
        # Connections that were closed for others, and are in ``connections`` until their end.
        self.n_closing = 0

    def has_room(self) -> bool:
        """Whether one more connection may be opened; closes idle ones for it."""
        max_connections = self.settings.max_connections
        if len(self.connections) - self.n_closing < max_connections:
            return True
        self._close_idle(1 + max_connections // _CLOSED_SHARE)
        return len(self.connections) - self.n_closing < max_connections

    def count_closed(self, reason: str) -> None:
        self.metrics.connections_closed.labels(reason).inc()

    @contextlib.asynccontextmanager
    async def enforce(self) -> AsyncIterator[None]:
        """Enforce the time limits while the context is open."""
        loop = asyncio.get_running_loop()
        timer: asyncio.TimerHandle
        swept_at = loop.time()

        def sweep() -> None:
            nonlocal timer, swept_at
            timer = loop.call_later(SWEEP_SECONDS, sweep)
            now = loop.time()
            seconds, swept_at = now - swept_at, now
            self._sweep(seconds)

        raise_open_files(self.settings.max_connections + _OTHER_FILES)
        sweep()
        try:
            yield
        finally:
            timer.cancel()

    def _sweep(self, seconds: float) -> None:
        """Check all connections, ``seconds`` after the last time."""
        self.now += min(seconds, _MAX_STEP_SECONDS)
        self._check_file_limit()
        self.metrics.connections.set(len(self.connections))
        for connection in list(self.connections):
            connection.check_time(self.now)

    def _check_file_limit(self) -> None:
        """Report that no more files can be opened: libuv then closes new connections in silence."""
        try:
            Path(os.devnull).open("rb").close()
        except OSError as error:
            self.metrics.file_limit_reached.inc()
            if self.now - self._file_limit_logged_at > _FILE_LIMIT_LOG_SECONDS:
                self._file_limit_logged_at = self.now
                fields = {"reason": error.strerror, "limit": max_open_files()}
                log(logging.ERROR, "file_limit_reached", fields)

    def _close_idle(self, n_connections: int) -> None:
        """Close those that are idle for the longest time."""
        numbered = [(connection.idle_order(), connection) for connection in self.connections]
        idle = {number: connection for number, connection in numbered if number is not None}
        for number in sorted(idle)[:n_connections]:
            self.n_closing += 1
            self.count_closed("idle")
            idle[number].close_idle()


class WriteWatch:
    """Tells whether a client has stopped to read: the bytes that wait for it do not get fewer."""

    def __init__(self) -> None:
        self._n_waiting, self._since = 0, 0.0

    def is_stalled(self, transport: asyncio.Transport, now: float, max_seconds: float) -> bool:
        n_waiting = transport.get_write_buffer_size()
        if n_waiting and self._n_waiting - _MIN_WRITTEN_BYTES < n_waiting <= self._n_waiting:
            return now - self._since > max_seconds
        self._n_waiting, self._since = n_waiting, now
        return False
