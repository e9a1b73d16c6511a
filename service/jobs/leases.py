"""Queries of the runner: claim a job, and write its progress and results.

A job is run under a lease that each write renews. A worker that ends without giving it back leaves
a lease that lapses, and the job is claimed by another one. Each write checks that the lease is
still the writer's: one that was only slow writes nothing more. So a clock that jumps ahead, which
ends leases too early, costs a job its time and never writes results twice.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import Connection, delete, func, select, update

from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.tables import timestamp
from earful.service.jobs.records import ClaimedFile, ClaimedJob, FileOutcome, JobLost
from earful.service.jobs.submission import QUEUE_LOCK
from earful.service.jobs.tables import (
    FINISHED,
    job_events_table,
    job_files_table,
    jobs_table,
)

LEASE = timedelta(seconds=10)
# A lease that ends later than this was given before the clock was set back: nobody renews it, or
# its worker learns at its next write that it is lost. More than clocks of machines differ.
_LATEST_END = LEASE + timedelta(minutes=1)


def claim_job(database: FeedbackDatabase, folder: str) -> ClaimedJob | None:
    """The oldest job of a folder that nobody works on, now with a lease; None if there is none.

    A file that was not finished starts again.
    """
    now = datetime.now(UTC)
    oldest = (
        select(jobs_table.c.id)
        .where(
            jobs_table.c.folder == folder,
            jobs_table.c.state.in_(("waiting", "running")),
            (jobs_table.c.lease_until < timestamp(now))
            | (jobs_table.c.lease_until > timestamp(now + _LATEST_END)),
            jobs_table.c.expires_at > timestamp(now),
        )
        .order_by(jobs_table.c.created_at)
        .limit(1)
    )
    with database.read_transaction() as connection:
        if connection.scalar(oldest) is None:
            return None
    with database.write_transaction(QUEUE_LOCK) as connection:
        job_id = connection.scalar(oldest)
        if job_id is None:
            return None
        lease = secrets.token_hex(8)
        row = jobs_table.c.id == job_id
        until = timestamp(now + LEASE)
        connection.execute(
            update(jobs_table).where(row).values(state="running", lease=lease, lease_until=until)
        )
        return ClaimedJob(job_id, lease, _unfinished_files(connection, job_id))


def count_waiting(database: FeedbackDatabase, folder: str) -> int:
    """Jobs of a folder that wait for a worker."""
    waiting = (jobs_table.c.folder == folder, jobs_table.c.state == "waiting")
    with database.read_transaction() as connection:
        return connection.scalar(select(func.count()).select_from(jobs_table).where(*waiting)) or 0


def begin_measuring(database: FeedbackDatabase, job: ClaimedJob, positions: Sequence[int]) -> None:
    """Note that files are opened: one of them may end the worker.

    Raises:
        JobLost: the job is no longer this worker's, as in all functions below.
    """
    with database.write_transaction() as connection:
        _renew(connection, job)
        for position in positions:
            attempts = job_files_table.c.attempts + 1
            _update_file(connection, job, position, attempts=attempts)


def set_seconds(
    database: FeedbackDatabase, job: ClaimedJob, seconds: Mapping[int, float | None]
) -> None:
    """Store the lengths in seconds of files, by position; none of them has ended the worker."""
    with database.write_transaction() as connection:
        _renew(connection, job)
        for position, value in seconds.items():
            _update_file(connection, job, position, seconds=value, attempts=0)


def begin_file(database: FeedbackDatabase, job: ClaimedJob, position: int, model: str) -> int:
    """Note that a file is run with a model (JSON); how often it was, this time included."""
    with database.write_transaction() as connection:
        _renew(connection, job)
        attempts = job_files_table.c.attempts + 1
        _update_file(connection, job, position, state="running", model=model, attempts=attempts)
        file = (job_files_table.c.job_id == job.id, job_files_table.c.position == position)
        return int(connection.scalar(select(job_files_table.c.attempts).where(*file)) or 0)


def write_progress(
    database: FeedbackDatabase,
    job: ClaimedJob,
    position: int,
    seconds_done: float,
    part: int,
    events: str,
) -> None:
    """Store how much of a file is done, and its events since the last part (JSON), if any."""
    with database.write_transaction() as connection:
        _renew(connection, job)
        _update_file(connection, job, position, seconds_done=seconds_done)
        _add_events(connection, database, job, position, part, events)


def finish_file(
    database: FeedbackDatabase,
    job: ClaimedJob,
    position: int,
    outcome: FileOutcome,
    part: int = 0,
    events: str = "",
) -> None:
    """Store the outcome of a file, and its last events; its upload is no longer needed."""
    with database.write_transaction() as connection:
        _renew(connection, job)
        # Of a file that failed at its start the length by its header, if that is known.
        header_seconds = func.coalesce(job_files_table.c.seconds, 0.0)
        seconds = header_seconds if outcome.seconds is None else outcome.seconds
        _update_file(
            connection,
            job,
            position,
            state="failed" if outcome.error_code else "done",
            seconds=seconds,
            seconds_done=seconds,
            label=outcome.label,
            score=outcome.score,
            error_code=outcome.error_code,
            error_message=outcome.error_message,
        )
        _add_events(connection, database, job, position, part, events)
        left = select(func.coalesce(func.sum(job_files_table.c.n_bytes), 0)).where(
            job_files_table.c.job_id == job.id, job_files_table.c.state.not_in(FINISHED)
        )
        _renew(connection, job, n_bytes=left.scalar_subquery())


def finish_job(database: FeedbackDatabase, job: ClaimedJob, retention: timedelta) -> str:
    """End a job whose files have all ended; its state, ``done`` or ``failed``."""
    with database.write_transaction() as connection:
        states = connection.scalars(
            select(job_files_table.c.state).where(job_files_table.c.job_id == job.id)
        ).all()
        state = "failed" if set(states) == {"failed"} else "done"
        expires_at = timestamp(datetime.now(UTC) + retention)
        _renew(connection, job, state=state, expires_at=expires_at, lease="", lease_until="")
    return state


def release_job(database: FeedbackDatabase, job: ClaimedJob, position: int | None) -> None:
    """Give a job back, to be claimed at once; ``position`` is the file that was running."""
    with database.write_transaction() as connection:
        _renew(connection, job, state="waiting", lease="", lease_until="")
        if position is not None:
            attempts = job_files_table.c.attempts - 1
            _update_file(connection, job, position, state="waiting", attempts=attempts)


def _unfinished_files(connection: Connection, job_id: str) -> tuple[ClaimedFile, ...]:
    unfinished = (
        job_files_table.c.job_id == job_id,
        job_files_table.c.state.not_in(FINISHED),
    )
    files = connection.execute(
        select(job_files_table).where(*unfinished).order_by(job_files_table.c.position)
    ).all()
    positions = [file.position for file in files]
    connection.execute(
        delete(job_events_table).where(
            job_events_table.c.job_id == job_id, job_events_table.c.position.in_(positions)
        )
    )
    connection.execute(
        update(job_files_table).where(*unfinished).values(state="waiting", seconds_done=0.0)
    )
    return tuple(ClaimedFile(file.position, file.attempts, file.seconds) for file in files)


def _renew(connection: Connection, job: ClaimedJob, **values: object) -> None:
    renewed = {"lease_until": timestamp(datetime.now(UTC) + LEASE), **values}
    changed = connection.execute(
        update(jobs_table)
        .where(
            jobs_table.c.id == job.id,
            jobs_table.c.lease == job.lease,
            jobs_table.c.state == "running",
        )
        .values(**renewed)
    )
    if changed.rowcount != 1:
        raise JobLost(f"job {job.id[:8]} was deleted, or another worker has taken it")


def _update_file(connection: Connection, job: ClaimedJob, position: int, **values: object) -> None:
    file = (job_files_table.c.job_id == job.id, job_files_table.c.position == position)
    connection.execute(update(job_files_table).where(*file).values(**values))


def _add_events(
    connection: Connection,
    database: FeedbackDatabase,
    job: ClaimedJob,
    position: int,
    part: int,
    events: str,
) -> None:
    if events:
        row = {"job_id": job.id, "position": position, "part": part, "events": events}
        # It is there already if a commit succeeded whose answer was lost.
        connection.execute(database.upsert(job_events_table, [row]))
