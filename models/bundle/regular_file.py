"""Reads a file into memory that must be a regular one, and no larger than a model can be."""

import os
import stat
from pathlib import Path

from earful.data.system.files import READ_BYTES

# The limit of a message of protobuf, of which an ONNX file is one.
MAX_BYTES = 2**31 - 1


class NotRegularFile(OSError):  # noqa: N818 - names the state
    """A device, pipe or folder, or too large a file; ``strerror`` says which."""


def read_regular_file(path: Path) -> bytes:
    """The content of a file. Of what is no regular file nothing is read: it may never end.

    Raises:
        OSError: it cannot be read.
        NotRegularFile: it is no regular file, or larger than ``MAX_BYTES``.
    """
    descriptor = os.open(path, READ_BYTES)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotRegularFile(0, f"it is {_kind(status.st_mode)}, not a file", str(path))
        if status.st_size > MAX_BYTES:
            raise NotRegularFile(0, f"it is larger than {MAX_BYTES:,} bytes", str(path))
        with open(descriptor, "rb", closefd=False) as file:
            content = file.read(status.st_size + 1)
    finally:
        os.close(descriptor)
    if len(content) > status.st_size:  # it grows, or is a file of /proc
        raise NotRegularFile(0, "it grew while it was read", str(path))
    return content


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"
