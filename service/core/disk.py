"""Writes to a disk that may be full."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from earful.data.errors import FULL_DISK
from earful.service.core.errors import RequestError


def write_all(file: IO[bytes], data: bytes | bytearray) -> None:
    """Append to an unbuffered file.

    Raises:
        OSError: the disk is full, for example.
    """
    rest = memoryview(data)
    while rest:  # a call may write less, at a limit or before the disk is full
        rest = rest[file.write(rest) :]


@contextmanager
def disk_errors() -> Iterator[None]:
    """Turn the errors of a full disk into ``disk_full``; others pass."""
    try:
        yield
    except OSError as error:
        if error.errno not in FULL_DISK:
            raise
        raise disk_full() from error


def disk_full() -> RequestError:
    return RequestError(
        "disk_full", "the disk for uploads is full; try again later", {"Retry-After": "60"}
    )
