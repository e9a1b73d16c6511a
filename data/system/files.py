"""What opens and reads a file by its descriptor, where a system lacks a flag or a call."""

import os
import sys

# To read bytes: opening a named pipe does not wait for its writer, a child process does not get the
# file, and Windows does not change line ends.
READ_BYTES = (
    os.O_RDONLY
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)


def read_at(descriptor: int, n_bytes: int, offset: int) -> bytes:
    """At most ``n_bytes`` from ``offset`` on.

    The position of the file stays, but on Windows, which has no call for it: there, one thread at a
    time.
    """
    if sys.platform != "win32":
        return os.pread(descriptor, n_bytes, offset)
    else:  # noqa: RET505 - mypy checks each branch for its system
        position = os.lseek(descriptor, 0, os.SEEK_CUR)
        try:
            os.lseek(descriptor, offset, os.SEEK_SET)
            return os.read(descriptor, n_bytes)
        finally:
            os.lseek(descriptor, position, os.SEEK_SET)
