"""Queries of the routes: make a job in three steps, read it, delete it.

A job has its row before its first byte arrives, so that all workers together keep the limits, and
so that what is left of an upload that ends with its worker can be found and deleted.
"""

from collections.abc import Iterator, Sequence
from dataclasses import fields
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, Connection, delete, func, select, update

from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.tables import timestamp
from earful.service.jobs.records import FileView, JobLimits, JobLost, JobsFull, JobUpload, JobView
from earful.service.jobs.tables import (
    UNFINISHED,
    job_events_table,
    job_files_table,
    jobs_table,
)

# An upload that has not grown for this long has ended with its worker.
UPLOAD_LEASE = timedelta(seconds=120)
# Transactions that decide by several rows run one after another.
QUEUE_LOCK = "earful_jobs"
_NO_LEASE = {"lease": "", "lease_until": ""}
# Ids in one statement, of which databases take only so many.
_BATCH = 500
_FILE_COLUMNS = [field.name for field in fields(FileView) if field.name != "events"]


def begin_upload(
    database: FeedbackDatabase,
    job_id: str,
    owner: str,
    folder: str,
    n_bytes: int,
    limits: JobLimits,
) -> None:
    """Add a job of which ``n_bytes`` will arrive.

    Raises:
        JobsFull: too many jobs or bytes.
    """
    now = datetime.now(UTC)
    with database.write_transaction(QUEUE_LOCK) as connection:
        n_jobs = connection.scalar(select(func.count()).select_from(jobs_table)) or 0
        if n_jobs >= limits.max_jobs:
            raise JobsFull(f"{n_jobs} jobs are waiting or kept, at most {limits.max_jobs} may be")
        _check_bytes(connection, folder, n_bytes, limits)
        row = {
            "id": job_id,
            "state": "uploading",
            "owner": owner,
            "folder": folder,
            "n_bytes": n_bytes,
            "lease": job_id,
            "lease_until": timestamp(now + UPLOAD_LEASE),
            "created_at": timestamp(now),
            "expires_at": timestamp(now + limits.retention),
        }
        connection.execute(jobs_table.insert(), [row])


def grow_upload(
    database: FeedbackDatabase, job_id: str, folder: str, more_bytes: int, limits: JobLimits
) -> None:
    """Count more bytes of an upload (0: it is still alive).

    Raises:
        JobsFull: too many bytes.
        JobLost: its lease has lapsed, and it was deleted.
    """
    with database.write_transaction(QUEUE_LOCK) as connection:
        if more_bytes:
            _check_bytes(connection, folder, more_bytes, limits)
        grown = {
            "n_bytes": jobs_table.c.n_bytes + more_bytes,
            "lease_until": timestamp(datetime.now(UTC) + UPLOAD_LEASE),
        }
        _update_upload(connection, job_id, grown)


def finish_upload(
    database: FeedbackDatabase, job_id: str, uploads: Sequence[JobUpload], limits: JobLimits
) -> None:
    """Let a job wait for a worker.

    Raises:
        JobLost: its lease has lapsed, and it was deleted.
    """
    now = datetime.now(UTC)
    with database.write_transaction(QUEUE_LOCK) as connection:
        waiting = {
            "state": "waiting",
            "n_bytes": sum(upload.n_bytes for upload in uploads),
            "created_at": timestamp(now),
            "expires_at": timestamp(now + limits.retention),
            **_NO_LEASE,
        }
        _update_upload(connection, job_id, waiting)
        rows = [
            {
                "job_id": job_id,
                "position": position,
                "filename": upload.filename,
                "n_bytes": upload.n_bytes,
                "state": "waiting",
                "attempts": 0,
                "seconds_done": 0.0,
            }
            for position, upload in enumerate(uploads)
        ]
        connection.execute(job_files_table.insert(), rows)


def find_job(database: FeedbackDatabase, job_id: str, owner: str) -> JobView | None:
    """A job of this owner; None if there is none, or if it is older than it is kept."""
    with database.read_transaction() as connection:
        job = connection.execute(select(jobs_table).where(*_visible(job_id, owner))).first()
        if job is None:
            return None
        of_job = job_files_table.c.job_id == job_id
        files = (
            connection.execute(
                select(job_files_table).where(of_job).order_by(job_files_table.c.position)
            )
            .mappings()
            .all()
        )
        parts = connection.execute(
            select(job_events_table)
            .where(job_events_table.c.job_id == job_id)
            .order_by(job_events_table.c.position, job_events_table.c.part)
        ).all()
    events: dict[int, list[str]] = {}
    for part in parts:
        events.setdefault(part.position, []).append(part.events)
    return JobView(
        id=job.id,
        state=job.state,
        created_at=job.created_at,
        expires_at=job.expires_at,
        files=tuple(
            FileView(
                **{name: row[name] for name in _FILE_COLUMNS},
                events=tuple(events.get(row["position"], ())),
            )
            for row in files
        ),
    )


def delete_job(database: FeedbackDatabase, job_id: str, owner: str) -> bool | None:
    """Delete a job of this owner; what is left is a row that tells its folder to remove files.

    Whether it was unfinished; None if there is no such job.
    """
    with database.write_transaction(QUEUE_LOCK) as connection:
        state = connection.scalar(select(jobs_table.c.state).where(*_visible(job_id, owner)))
        if state is None:
            return None
        mark_deleted(connection, [job_id])
    return state in UNFINISHED


def forget_jobs(database: FeedbackDatabase, job_ids: Sequence[str]) -> None:
    """Delete the rows of jobs whose files are removed."""
    for some in batches(job_ids):
        with database.write_transaction(QUEUE_LOCK) as connection:
            _delete_results(connection, some)
            connection.execute(delete(jobs_table).where(jobs_table.c.id.in_(some)))


def mark_deleted(connection: Connection, job_ids: Sequence[str]) -> None:
    """Delete the results of jobs, and end their leases: who runs one notices."""
    for some in batches(job_ids):
        # The job first, as the runner does: in another order they could wait for each other.
        connection.execute(
            update(jobs_table)
            .where(jobs_table.c.id.in_(some))
            .values(state="deleted", owner="", n_bytes=0, **_NO_LEASE)
        )
        _delete_results(connection, some)


def batches(job_ids: Sequence[str]) -> Iterator[Sequence[str]]:
    """The ids in as many as one statement takes."""
    for first in range(0, len(job_ids), _BATCH):
        yield job_ids[first : first + _BATCH]


def _delete_results(connection: Connection, job_ids: Sequence[str]) -> None:
    for table in (job_events_table, job_files_table):
        connection.execute(delete(table).where(table.c.job_id.in_(job_ids)))


def _visible(job_id: str, owner: str) -> tuple[ColumnElement[bool], ...]:
    now = timestamp()
    return (
        jobs_table.c.id == job_id,
        jobs_table.c.owner == owner,
        jobs_table.c.state.not_in(("uploading", "deleted")),
        (jobs_table.c.expires_at > now) | (jobs_table.c.lease_until > now),
    )


def _check_bytes(connection: Connection, folder: str, n_bytes: int, limits: JobLimits) -> None:
    waiting = (jobs_table.c.folder == folder, jobs_table.c.state.in_(UNFINISHED))
    held = connection.scalar(select(func.sum(jobs_table.c.n_bytes)).where(*waiting)) or 0
    if held + n_bytes > limits.max_bytes:
        raise JobsFull(f"{held} bytes of recordings are waiting, at most {limits.max_bytes} may be")


def _update_upload(connection: Connection, job_id: str, values: dict[str, object]) -> None:
    changed = connection.execute(
        update(jobs_table)
        .where(jobs_table.c.id == job_id, jobs_table.c.state == "uploading")
        .values(**values)
    )
    if changed.rowcount != 1:
        raise JobLost("the upload took too long and was deleted; send it again")
