"""Jobs in the running service: uploads, queries on threads, and the runners.

Nothing blocks the event loop. The database is opened when it is first needed.
"""

import asyncio
import contextlib
import logging
import secrets
import threading
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from earful.service.core.background import BackgroundThread
from earful.service.core.disk import disk_full
from earful.service.core.errors import RequestError
from earful.service.core.request_log import log
from earful.service.core.settings import Settings
from earful.service.feedback.database_url import DatabaseAddress
from earful.service.feedback.errors import DatabaseFull, FeedbackError
from earful.service.feedback.feedback_service import FeedbackService
from earful.service.jobs.job_folder import JobFolder
from earful.service.jobs.records import JobLimits, JobLost, JobsError, JobsFull, JobView
from earful.service.jobs.runner_context import RunnerContext
from earful.service.jobs.upload import Upload, unavailable, upload_errors

if TYPE_CHECKING:
    from earful.service.feedback.database import FeedbackDatabase

T = TypeVar("T")
POLL_SECONDS = 1.0
CLEAN_SECONDS = 60.0
_THREADS = 4
_ID_BYTES = 16


class JobService:
    """Serves the routes of jobs, and runs jobs, once ``start`` was called."""

    def __init__(
        self,
        folder: JobFolder,
        limits: JobLimits,
        feedback_database: "Callable[[], FeedbackDatabase] | None",
    ) -> None:
        self.folder, self.limits = folder, limits
        self._feedback_database = feedback_database
        self._open_lock = threading.Lock()
        self._database: FeedbackDatabase | None = None
        self._threads = ThreadPoolExecutor(_THREADS, "jobs")
        self._runners: list[BackgroundThread] = []
        self._background: list[BackgroundThread] = []

    def start(self, context: RunnerContext, n_runners: int) -> None:
        """Run jobs, ``n_runners`` at a time, and clean up from time to time."""
        self._context, metrics = context, context.metrics
        self._runners = [
            BackgroundThread("jobs_run", self._run_next, metrics, POLL_SECONDS)
            for _ in range(n_runners)
        ]
        seconds = min(CLEAN_SECONDS, self.limits.retention.total_seconds() / 2)
        cleaner = BackgroundThread("jobs_clean", self._clean, metrics, seconds, seconds)
        self._background = [cleaner, *self._runners]
        for thread in self._background:
            thread.start()

    async def close(self) -> None:
        """Stop; jobs that run are given back."""
        for thread in self._background:
            thread.stop()
        await asyncio.get_running_loop().run_in_executor(None, self._shut_down)

    @contextlib.asynccontextmanager
    async def upload(
        self, owner: str, n_bytes: int, deadline: Callable[[], float]
    ) -> AsyncIterator[Upload]:
        """A new job, of which ``n_bytes`` are announced; deleted unless ``finish`` is called.

        Raises:
            RequestError: ``queue_full``, ``disk_full`` or ``jobs_unavailable``.
        """
        from earful.service.jobs.submission import begin_upload

        folder = self.folder
        upload = Upload(self, secrets.token_urlsafe(_ID_BYTES), n_bytes, deadline)
        try:
            await self.run(
                lambda database: begin_upload(
                    database, upload.id, owner, folder.identity, n_bytes, self.limits
                ),
                deadline(),
            )
            if folder.free_bytes() < n_bytes:
                raise disk_full()
            with upload_errors():
                yield upload
        finally:
            if not upload.is_finished:
                await asyncio.shield(asyncio.ensure_future(upload.discard()))

    async def find(self, job_id: str, owner: str, deadline: float) -> JobView:
        """A job.

        Raises:
            RequestError: ``job_not_found`` or ``jobs_unavailable``.
        """
        from earful.service.jobs.submission import find_job

        job = await self.run(lambda database: find_job(database, job_id, owner), deadline)
        if job is None:
            raise _not_found()
        return job

    async def delete(self, job_id: str, owner: str, deadline: float) -> None:
        """Stop a job, and delete its uploads and results.

        Raises:
            RequestError: ``job_not_found`` or ``jobs_unavailable``.
        """
        from earful.service.jobs.cleaning import remove_deleted
        from earful.service.jobs.submission import delete_job

        def query(database: "FeedbackDatabase") -> bool | None:
            was_unfinished = delete_job(database, job_id, owner)
            remove_deleted(database, self.folder)
            return was_unfinished

        was_unfinished = await self.run(query, deadline)
        if was_unfinished is None:
            raise _not_found()
        if was_unfinished:
            self._context.metrics.jobs_finished.labels("stopped").inc()

    async def run(self, query: "Callable[[FeedbackDatabase], T]", deadline: float) -> T:
        """Run ``query`` with the database on a thread.

        Raises:
            RequestError: ``queue_full``, ``disk_full`` or ``jobs_unavailable``.
        """
        future = asyncio.get_running_loop().run_in_executor(
            self._threads, lambda: query(self.database())
        )
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await future
        except TimeoutError as error:
            raise unavailable("the database of jobs did not respond in time") from error
        except JobsFull as error:
            raise RequestError(
                "queue_full", f"{error}; try again later", {"Retry-After": "60"}
            ) from error
        except JobLost as error:
            raise RequestError("too_slow", str(error), {"Connection": "close"}) from error
        except DatabaseFull as error:
            raise disk_full() from error
        except (FeedbackError, JobsError) as error:
            log(logging.ERROR, "jobs_unavailable", {"reason": str(error)})
            raise unavailable("the database of jobs is busy or unreachable") from error

    # The methods below run on threads.

    def database(self) -> "FeedbackDatabase":
        """The database, opened when it is first needed; blocks.

        Raises:
            FeedbackError: it cannot be used.
            JobsError: it has tables of another version.
        """
        from earful.service.feedback.database import open_database
        from earful.service.jobs.tables import create_job_tables

        with self._open_lock:
            if self._database is None:
                if self._feedback_database is not None:
                    database = self._feedback_database()
                else:
                    url = f"sqlite:///{self.folder.database_file}"
                    database = open_database(DatabaseAddress(url, self.folder.database_file))
                create_job_tables(database)
                self._database = database
            return self._database

    def wake(self) -> None:
        """Let the runners look for jobs at once."""
        for thread in self._runners:
            thread.wake()

    def _run_next(self, thread: BackgroundThread) -> bool:
        """Run the next job; whether there may be more."""
        # Without uploads the database is not opened, which takes time and memory.
        if self._context.is_draining() or not self.folder.has_uploads():
            self._context.metrics.jobs_waiting.set(0)
            return False
        from earful.service.jobs.runner import JobRunner

        return JobRunner(self._context, thread).run_next()

    def _clean(self, _: BackgroundThread) -> bool:
        if self._feedback_database is None and not self.folder.database_file.exists():
            return False  # there was no job yet
        from earful.service.jobs.cleaning import clean_jobs

        n_expired = clean_jobs(self.database(), self.folder, self.limits.retention)
        if n_expired:
            self._context.metrics.jobs_finished.labels("expired").inc(n_expired)
            log(logging.INFO, "jobs_expired", {"jobs": n_expired})
        return False

    def _shut_down(self) -> None:
        for thread in self._background:
            thread.join()
        self._threads.shutdown()
        if self._database is not None and self._feedback_database is None:
            self._database.close()


def open_job_service(settings: Settings, feedback: FeedbackService | None) -> JobService | None:
    """Jobs, in the database of feedback if there is one; None when they are off. Blocks.

    If the default folder cannot be used, jobs are off with a warning in the log.

    Raises:
        JobsError: a configured folder cannot be used.
    """
    root = settings.jobs_folder()
    if root is None:
        return None
    folder = JobFolder(root)
    try:
        folder.prepare()
    except JobsError as error:
        if settings.jobs_dir is not None:
            raise
        log(logging.WARNING, "jobs_off", {"reason": str(error)})
        return None
    limits = JobLimits(
        settings.max_jobs,
        settings.max_jobs_bytes,
        timedelta(hours=settings.job_retention_hours),
    )
    log(logging.INFO, "jobs_on", {"folder": str(root)})
    return JobService(folder, limits, None if feedback is None else feedback.get_database)


def _not_found() -> RequestError:
    return RequestError(
        "job_not_found", "no such job; it may have been deleted, or be older than it is kept"
    )
