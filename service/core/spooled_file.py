"""A large upload in a temporary file, so that memory does not grow with it."""

import hashlib
import os
import tempfile
import threading
from typing import BinaryIO

from earful.data.system.files import read_at
from earful.service.core.disk import disk_errors, write_all
from earful.service.core.errors import RequestError


class SpooledFile:
    """The bytes of an upload in an unnamed file, which vanishes with the process.

    ``append`` and ``read`` block: call them on a thread, one at a time.
    """

    def __init__(self) -> None:
        with disk_errors():
            self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by close
        self._sha256 = hashlib.sha256()
        self._lock = threading.Lock()  # a request may end while a thread still writes
        self.n_bytes = 0

    @property
    def digest(self) -> bytes:
        """The SHA-256 of the bytes."""
        return self._sha256.digest()

    def append(self, chunk: bytes | bytearray) -> None:
        """Write the next bytes.

        Raises:
            RequestError: ``disk_full``.
        """
        with self._lock, disk_errors():
            if self._file.closed:
                return
            self._sha256.update(chunk)
            write_all(self._file, chunk)
            self.n_bytes += len(chunk)

    def reopen(self) -> BinaryIO:
        """The file for reading, which outlives ``close``: the caller closes it."""
        with self._lock:
            if self._file.closed:
                raise RequestError("client_disconnected", "the request has ended")
            return os.fdopen(os.dup(self._file.fileno()), "rb")

    def read(self) -> bytes:
        """All bytes."""
        parts: list[bytes] = []
        n_read = 0
        while part := read_at(self._file.fileno(), self.n_bytes - n_read, n_read):
            parts.append(part)
            n_read += len(part)
        return b"".join(parts)

    def close(self) -> None:
        with self._lock:
            self._file.close()
