"""Writes the files of an upload into the folder of its job as they arrive."""

import asyncio
import io
import os
import time
from collections.abc import Callable

from earful.service.core.arriving_file import ArrivingFile
from earful.service.core.disk import write_all
from earful.service.core.errors import too_large
from earful.service.jobs.records import JobUpload
from earful.service.jobs.upload import Upload

# A body whose length is not declared is counted in steps of this size.
RESERVE_BYTES = 8_000_000
# While a slow body arrives, its job is kept alive this often.
_KEEP_ALIVE_SECONDS = 20.0


class Spool:
    """A ``FileSink`` whose files are durable; their bytes are counted before they are written.

    ``deadline`` gives that of a query, as a time of ``time.monotonic``.
    """

    store_all = True

    def __init__(self, upload: Upload, n_declared: int, deadline: Callable[[], float]) -> None:
        self._upload, self._deadline = upload, deadline
        self._folder = upload.folder.incoming(upload.id)
        self._n_reserved, self._n_bytes = n_declared, 0
        self._kept_alive = time.monotonic()
        self._file: io.FileIO | None = None
        self.uploads: list[JobUpload] = []

    async def write(self, file: ArrivingFile) -> None:
        if file.n_bytes > file.max_bytes:
            raise too_large(file.max_bytes)
        self._n_bytes += len(file.buffer)
        await self._reserve()
        await asyncio.to_thread(self._write, file)

    def close(self) -> None:
        """Close the file, also one that is incomplete."""
        if self._file is not None:
            self._file.close()

    async def _reserve(self) -> None:
        now = time.monotonic()
        if self._n_bytes > self._n_reserved:
            self._n_reserved = self._n_bytes + RESERVE_BYTES
        elif now - self._kept_alive < _KEEP_ALIVE_SECONDS:
            return
        await self._upload.reserve(self._n_reserved, self._deadline())
        self._kept_alive = now

    def _write(self, file: ArrivingFile) -> None:
        if self._file is None:
            if not self.uploads:
                self._folder.mkdir(mode=0o700)
            self._file = (self._folder / str(len(self.uploads))).open("wb", buffering=0)
        write_all(self._file, file.take())
        if file.is_complete:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
            # A NUL cannot be stored in PostgreSQL.
            self.uploads.append(JobUpload(file.name.replace("\0", ""), file.n_stored))
