"""Uvicorn's server, its parent of several workers, and the socket that they listen on.

A worker that cannot start does not end the others. The socket is closed without a reset: the system
completes connections before the server accepts them, and resets those that are not accepted when
the socket is closed. So new ones are ignored first; the client asks again after a second, and is
then refused, or reaches the server that has taken over the port.
"""

import asyncio
import contextlib
import ctypes
import socket
import struct
import sys
import time

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from earful.data.errors import EarfulError

# Between the last connection request that is let through and the close: connections that have begun
# are completed and accepted, and their requests arrive.
SETTLE_SECONDS = 0.4
_SO_ATTACH_FILTER = 26  # asm-generic/socket.h
# A classic BPF program on the TCP header (linux/filter.h): drop a segment with SYN and without ACK.
_LOAD_BYTE, _AND, _JUMP_IF_EQUAL, _RETURN = 0x30, 0x54, 0x15, 0x06
_FLAGS_OFFSET, _SYN, _SYN_OR_ACK = 13, 0x02, 0x12
_IGNORE_SYN = (
    (_LOAD_BYTE, 0, 0, _FLAGS_OFFSET),
    (_AND, 0, 0, _SYN_OR_ACK),
    (_JUMP_IF_EQUAL, 0, 1, _SYN),
    (_RETURN, 0, 0, 0),
    (_RETURN, 0, 0, 0xFFFFFFFF),
)


class ServerError(EarfulError):
    """The server cannot start."""


def bind_socket(host: str, port: int, flag: str = "--port") -> socket.socket:
    """A socket that listens on an address; ``flag`` is what chose the port.

    Raises:
        ServerError: the address is not available.
    """
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:  # too long a label of a host name is a UnicodeError
        raise _bind_error(host, port, flag, error) from error
    try:
        # On Windows SO_REUSEADDR would let a second server take the port as well.
        option = getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR)
        listener.setsockopt(socket.SOL_SOCKET, option, 1)
        listener.bind(address)
        listener.listen()  # fails too if another server started at the same moment
    except OSError as error:
        listener.close()
        raise _bind_error(host, port, flag, error) from error
    return listener


def ignore_new_connections(listener: socket.socket) -> None:
    """Ignore new connections, for all processes that share the socket; others can be accepted.

    On Linux alone; elsewhere, and in a sandbox without packet filters, a connection of the last
    moment may be reset.
    """
    if sys.platform == "linux":
        program = b"".join(struct.pack("=HBBI", *instruction) for instruction in _IGNORE_SYN)
        buffer = ctypes.create_string_buffer(program)
        option = struct.pack("@HP", len(_IGNORE_SYN), ctypes.addressof(buffer))
        with contextlib.suppress(OSError):  # a shutdown goes on without it
            listener.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, option)


def _bind_error(host: str, port: int, flag: str, error: Exception) -> ServerError:
    reason = getattr(error, "strerror", None) or error
    return ServerError(
        f"cannot listen on {host}, port {port}: {reason}; give another --host or {flag}"
    )


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
