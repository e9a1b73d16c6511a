"""A job whose files are arriving, and what a request is told when they cannot be kept."""

import asyncio
import contextlib
import io
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from earful.service.core.arriving_file import ArrivingFile
from earful.service.core.disk import disk_errors, write_all
from earful.service.core.errors import RequestError, too_large
from earful.service.core.request_log import log
from earful.service.jobs.records import JobUpload

if TYPE_CHECKING:
    from earful.service.feedback.database import FeedbackDatabase
    from earful.service.jobs.job_service import JobService

# A body whose length is not declared is counted in steps of this size.
RESERVE_BYTES = 8_000_000
# While a slow body arrives, its job is kept alive this often.
_KEEP_ALIVE_SECONDS = 20.0


class Upload:
    """A job whose files are arriving: a ``FileSink`` that makes them durable in its folder.

    Their bytes are counted before they are written; ``n_declared`` of them are already.
    ``deadline`` gives that of a query, as a time of ``time.monotonic``.
    """

    store_all = True

    def __init__(
        self, jobs: "JobService", job_id: str, n_declared: int, deadline: Callable[[], float]
    ) -> None:
        self._jobs, self.id, self._deadline = jobs, job_id, deadline
        self._folder = jobs.folder.incoming(job_id)
        self._n_reserved, self._n_bytes = n_declared, 0
        self._kept_alive = time.monotonic()
        self._file: io.FileIO | None = None
        self._uploads: list[JobUpload] = []
        self.is_finished = False

    async def write(self, file: ArrivingFile) -> None:
        """As ``FileSink.write``.

        Raises:
            RequestError: ``too_large``, ``queue_full``, ``too_slow`` or ``jobs_unavailable``.
        """
        if file.n_bytes > file.max_bytes:
            raise too_large(file.max_bytes)
        self._n_bytes += len(file.buffer)
        await self._reserve()
        await asyncio.to_thread(self._write, file)

    async def finish(self) -> None:
        """Let the job wait for a runner; all its files have arrived.

        Raises:
            RequestError: ``queue_full``, ``too_slow`` or ``jobs_unavailable``.
        """
        from earful.service.jobs.submission import finish_upload

        def query(database: "FeedbackDatabase") -> None:
            self._jobs.folder.complete(self.id)
            finish_upload(database, self.id, self._uploads, self._jobs.limits)

        await self._jobs.run(query, self._deadline())
        self.is_finished = True
        self._jobs.wake()

    async def discard(self) -> None:
        """Delete what has arrived. If the database does not answer, its row is deleted later."""
        from earful.service.jobs.submission import forget_jobs

        if self._file is not None:
            self._file.close()
        await asyncio.to_thread(self._jobs.folder.remove, self.id)
        with contextlib.suppress(RequestError):
            await self._jobs.run(
                lambda database: forget_jobs(database, [self.id]), time.monotonic() + 5
            )

    async def _reserve(self) -> None:
        """Count the bytes that have arrived, and keep the job alive."""
        from earful.service.jobs.submission import grow_upload

        now, more_bytes = time.monotonic(), 0
        if self._n_bytes > self._n_reserved:
            more_bytes = self._n_bytes + RESERVE_BYTES - self._n_reserved
        elif now - self._kept_alive < _KEEP_ALIVE_SECONDS:
            return
        identity, limits = self._jobs.folder.identity, self._jobs.limits
        await self._jobs.run(
            lambda database: grow_upload(database, self.id, identity, more_bytes, limits),
            self._deadline(),
        )
        self._n_reserved += more_bytes
        self._kept_alive = now

    def _write(self, file: ArrivingFile) -> None:
        if self._file is None:
            if not self._uploads:
                self._folder.mkdir(mode=0o700)
            self._file = (self._folder / str(len(self._uploads))).open("wb", buffering=0)
        write_all(self._file, file.take())
        if file.is_complete:
            os.fsync(self._file.fileno())
            self._file.close()
            self._file = None
            # A NUL cannot be stored in PostgreSQL.
            self._uploads.append(JobUpload(file.name.replace("\0", ""), file.n_stored))


@contextmanager
def upload_errors() -> Iterator[None]:
    """Turn what fails while an upload is written into ``disk_full`` or ``jobs_unavailable``."""
    try:
        with disk_errors():
            yield
    except OSError as error:
        log(logging.ERROR, "jobs_unavailable", {"reason": str(error)})
        raise unavailable("the upload could not be written") from error


def unavailable(message: str) -> RequestError:
    return RequestError("jobs_unavailable", f"{message}; try again", {"Retry-After": "1"})
