"""A job whose files are arriving."""

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from earful.service.core.errors import RequestError
from earful.service.jobs.job_folder import JobFolder
from earful.service.jobs.records import JobUpload

if TYPE_CHECKING:
    from earful.service.feedback.database import FeedbackDatabase
    from earful.service.jobs.job_service import JobService


class Upload:
    """A job whose files are arriving."""

    def __init__(self, jobs: "JobService", job_id: str, n_bytes: int) -> None:
        self._jobs, self.id = jobs, job_id
        self._n_reserved = n_bytes
        self.is_finished = False

    @property
    def folder(self) -> JobFolder:
        return self._jobs.folder

    async def reserve(self, n_bytes: int, deadline: float) -> None:
        """Keep the job alive, and count up to ``n_bytes`` in all.

        Raises:
            RequestError: ``queue_full``, ``too_slow`` or ``jobs_unavailable``.
        """
        from earful.service.jobs.submission import grow_upload

        more_bytes = max(0, n_bytes - self._n_reserved)
        identity, limits = self.folder.identity, self._jobs.limits
        await self._jobs.run(
            lambda database: grow_upload(database, self.id, identity, more_bytes, limits), deadline
        )
        self._n_reserved += more_bytes

    async def finish(self, uploads: list[JobUpload], deadline: float) -> None:
        """Let the job wait for a runner; all its files have arrived.

        Raises:
            RequestError: as ``reserve``.
        """
        from earful.service.jobs.submission import finish_upload

        def query(database: "FeedbackDatabase") -> None:
            self.folder.complete(self.id)
            finish_upload(database, self.id, uploads, self._jobs.limits)

        await self._jobs.run(query, deadline)
        self.is_finished = True
        self._jobs.wake()

    async def discard(self) -> None:
        """Delete what has arrived. If the database does not answer, its row is deleted later."""
        from earful.service.jobs.submission import forget_jobs

        await asyncio.to_thread(self.folder.remove, self.id)
        with contextlib.suppress(RequestError):
            await self._jobs.run(
                lambda database: forget_jobs(database, [self.id]), time.monotonic() + 5
            )
