"""The socket that a server listens on, and how it is closed without resetting a connection.

The system completes connections before the server accepts them, and resets those that are not
accepted when the socket is closed. So new ones are ignored first; the client asks again after a
second, and is then refused, or reaches the server that has taken over the port.
"""

import contextlib
import ctypes
import socket
import struct
import sys

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
