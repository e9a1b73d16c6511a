"""Uvicorn's server and its parent of several workers, closing their socket without a reset."""

import asyncio
import socket
import time

import uvicorn
from uvicorn.supervisors import Multiprocess

from earful.service.server.listening_socket import SETTLE_SECONDS, ignore_new_connections


class GracefulServer(uvicorn.Server):
    """A server in this process."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for listener in sockets or ():
            ignore_new_connections(listener)
        await asyncio.sleep(SETTLE_SECONDS)
        await super().shutdown(sockets)


class GracefulWorkers(Multiprocess):
    """Several workers, which accept for ``drain_seconds`` after they are told to stop."""

    def __init__(
        self, config: uvicorn.Config, listener: socket.socket, drain_seconds: float
    ) -> None:
        super().__init__(config, [listener])
        self._listener, self._drain_seconds = listener, drain_seconds

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
