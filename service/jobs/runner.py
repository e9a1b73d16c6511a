"""Runs jobs of one folder, one at a time, on a thread.

The results are written as they come. A runner that is stopped gives its job back; one that ends
with its worker leaves it, and the job is claimed again when its lease has lapsed. A file during
which workers end or fail again and again is given up.
"""

import contextlib
import logging
import time
from collections.abc import Callable
from functools import partial
from typing import Concatenate, ParamSpec, TypeVar

from earful.service.classifier import Classifier, InferenceError
from earful.service.core.background import BackgroundThread
from earful.service.core.errors import to_json
from earful.service.core.request_log import log
from earful.service.core.result_json import event_json
from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.errors import DatabaseUnavailable
from earful.service.inference.recording import Recording
from earful.service.jobs.cleaning import remove_deleted
from earful.service.jobs.leases import (
    begin_file,
    begin_measuring,
    claim_job,
    count_waiting,
    finish_file,
    finish_job,
    release_job,
    set_seconds,
    write_progress,
)
from earful.service.jobs.recording import JobRecording, recording_seconds
from earful.service.jobs.records import ClaimedFile, ClaimedJob, FileOutcome, JobLost
from earful.service.jobs.runner_context import RunnerContext

T = TypeVar("T")
P = ParamSpec("P")
# Progress and events are written this often, which also renews the lease.
WRITE_SECONDS = 1.0
MAX_ATTEMPTS = 3
# While short files are served, a job rests this long per quarter of a second of audio: nobody waits
# for it, and only few short files meet one of its windows.
REST_SECONDS = 0.02
_DATABASE_RETRY_SECONDS = 1.0


class _Stopped(Exception):  # noqa: N818 - names a state
    """The service shuts down."""


class JobRunner:
    """Claims and runs a job on a background thread, until that is stopped.

    Raises:
        FeedbackError: the database cannot be used; ``run_next`` raises it too.
    """

    def __init__(self, context: RunnerContext, thread: BackgroundThread) -> None:
        self._context, self._folder, self._thread = context, context.folder, thread
        self._database = context.database()
        self._position: int | None = None  # of the file that is running

    def run_next(self) -> bool:
        """Run the next job; whether there may be more."""
        database = self._database
        remove_deleted(database, self._folder)
        job = claim_job(database, self._folder.identity)
        self._context.metrics.jobs_waiting.set(count_waiting(database, self._folder.identity))
        if job is None:
            return False
        self._context.metrics.jobs_running.inc()
        try:
            self._run(job)
        finally:
            self._context.metrics.jobs_running.dec()
        return True

    def _run(self, job: ClaimedJob) -> None:
        self._position = None
        try:
            self._measure(job)
            for file in job.files:
                self._run_file(job, file)
                self._position = None
                self._folder.remove_file(job.id, file.position)
            state = self.write(finish_job, job, self._context.retention)
        except JobLost as error:
            log(logging.INFO, "job_lost", {"reason": str(error)})
            return
        except _Stopped:
            with contextlib.suppress(JobLost):
                release_job(self._database, job, self._position)
            return
        self._folder.remove(job.id)
        self._context.metrics.jobs_finished.labels(state).inc()
        log(logging.INFO, "job_finished", {"job": job.id[:8], "outcome": state})

    def _measure(self, job: ClaimedJob) -> None:
        """Store the lengths of all files, so that progress has a total."""
        # If one of them has ended a worker, each is opened only when it is its turn.
        new = [f.position for f in job.files if f.seconds is None and f.attempts == 0]
        if new:
            self.write(begin_measuring, job, new)
            seconds = {p: recording_seconds(self._folder.path(job.id, p)) for p in new}
            self.write(set_seconds, job, seconds)

    def _run_file(self, job: ClaimedJob, file: ClaimedFile) -> None:
        model = self._context.loaded_model()
        attempts = self.write(begin_file, job, file.position, to_json(model.info).decode())
        self._position = file.position
        run = _FileRun(self, job, file.position)
        if attempts > MAX_ATTEMPTS:
            outcome = FileOutcome(
                error_code="decoder_crashed",
                error_message=f"the service ended or failed {MAX_ATTEMPTS} times on this file; it "
                "was given up",
            )
        else:
            outcome = self._outcome(run, job, file, model.classifier)
        part, events = run.take_events()
        self.write(finish_file, job, file.position, outcome, part, events)

    def _outcome(
        self, run: "_FileRun", job: ClaimedJob, file: ClaimedFile, classifier: Classifier
    ) -> FileOutcome:
        def write_if_due() -> None:
            run.write_if_due(recording.seconds_done)

        context = self._context
        path, rate_hz = self._folder.path(job.id, file.position), classifier.sample_rate_hz
        recording = JobRecording(
            Recording(path, rate_hz, context.audio_limits, context.is_busy, REST_SECONDS),
            classifier,
            partial(context.score_windows, classifier, write_if_due),
            write_if_due,
        )
        try:
            for event in recording.events():
                run.events.append(to_json(event_json(event)).decode())
            return recording.outcome()
        except InferenceError as error:
            log(logging.ERROR, "batch_failed", {"reason": str(error), "job": job.id[:8]})
            message = "the model failed on this file"
            return FileOutcome(error_code="inference_failed", error_message=message)

    def check_stopped(self) -> None:
        """Raise ``_Stopped`` when the service shuts down."""
        if self._thread.is_stopped or self._context.is_draining():
            raise _Stopped

    def write(
        self,
        query: Callable[Concatenate[FeedbackDatabase, P], T],
        *args: P.args,
        **named: P.kwargs,
    ) -> T:
        """Run a query; while the database is unavailable the job waits."""
        while True:
            self.check_stopped()
            try:
                return query(self._database, *args, **named)
            except DatabaseUnavailable as error:
                log(logging.ERROR, "jobs_run_failed", {"reason": str(error)})
                self._thread.wait_stopped(_DATABASE_RETRY_SECONDS)


class _FileRun:
    """The events of a file that are not written yet."""

    def __init__(self, runner: JobRunner, job: ClaimedJob, position: int) -> None:
        self._runner, self._job, self._position = runner, job, position
        self._part, self._written_at = 0, time.monotonic()
        self.events: list[str] = []

    def write_if_due(self, seconds_done: float) -> None:
        self._runner.check_stopped()
        if time.monotonic() - self._written_at < WRITE_SECONDS:
            return
        part, events = self.take_events()
        self._runner.write(write_progress, self._job, self._position, seconds_done, part, events)
        self._written_at = time.monotonic()

    def take_events(self) -> tuple[int, str]:
        """(number, JSON without brackets) of the part of all events since the last one."""
        part, events = self._part, ",".join(self.events)
        self._part += bool(self.events)
        self.events = []
        return part, events
