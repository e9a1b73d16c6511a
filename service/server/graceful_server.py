"""Uvicorn's server and its parent of several workers.

They close their socket without a reset, and a worker that cannot start does not end the others.
"""

import asyncio
import socket
import time

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from earful.service.server.listening_socket import SETTLE_SECONDS, ignore_new_connections

# Before another try to start a worker: the model that it could not open may be half written.
RESTART_SECONDS = 5.0


class GracefulServer(uvicorn.Server):
    """A server in this process."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in sockets or ():
            ignore_new_connections(listener)
        await asyncio.sleep(SETTLE_SECONDS)
        await super().shutdown(sockets)


class GracefulWorkers(Multiprocess):
    """Several workers, which accept for ``drain_seconds`` after they are told to stop.

    A worker that ends is replaced. ``has_failed``: none could start, so nothing was served.
    """

    def __init__(
        self, config: uvicorn.Config, listener: socket.socket, drain_seconds: float
    ) -> None:
        super().__init__(config, [listener])
        self._listener, self._drain_seconds = listener, drain_seconds
        self._has_served, self.has_failed = False, False
        self._restart_times: list[float] = []  # of ``time.monotonic``

    def keep_subprocess_alive(self) -> None:
        """Replace workers that have ended; called twice a second.

        Uvicorn's own ends all workers when one cannot start. Here that is so only before one has
        served: later what fails is new, and may pass.
        """
        if self.should_exit.is_set():
            return
        for process in list(self.processes):
            if self._is_alive(process):
                continue
            process.kill()  # it may hang
            process.join()
            self.processes.remove(process)
            cannot_start = process.exitcode == STARTUP_FAILURE
            if cannot_start and not self._has_served:
                self.has_failed = True
                self.should_exit.set()
                return
            self._restart_times.append(time.monotonic() + cannot_start * RESTART_SECONDS)
        self._start_due()

    def _is_alive(self, process: Process) -> bool:
        seconds = self.config.timeout_worker_healthcheck
        if not process.is_alive(seconds):
            return False
        self._has_served = self._has_served or process.is_ready(seconds)
        return True

    def _start_due(self) -> None:
        now = time.monotonic()
        n_due = sum(start <= now for start in self._restart_times)
        self._restart_times = [start for start in self._restart_times if start > now]
        for _ in range(n_due):
            process = Process(self.config, self.sockets)
            process.start()
            self.processes.append(process)

    def terminate_all(self) -> None:
        """Stop the workers; new connections are ignored a moment before they accept no more."""
        if self._drain_seconds < SETTLE_SECONDS:
            ignore_new_connections(self._listener)
            time.sleep(SETTLE_SECONDS)
            super().terminate_all()
        else:
            super().terminate_all()
            time.sleep(self._drain_seconds - SETTLE_SECONDS)
            ignore_new_connections(self._listener)
        self._listener.close()  # the workers have their own copies: the last one closes the port
