"""Deletes jobs that are older than they are kept, uploads that never ended, and files left over."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import select

from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.tables import timestamp
from earful.service.jobs.job_folder import JobFolder
from earful.service.jobs.submission import QUEUE_LOCK, forget_jobs, mark_deleted
from earful.service.jobs.tables import UNFINISHED, jobs_table

_BATCH = 500


def clean_jobs(database: FeedbackDatabase, folder: JobFolder, retention: timedelta) -> int:
    """Delete what is due; how many jobs expired. Several workers may do it at a time."""
    n_expired = _expire(database)
    remove_deleted(database, folder)
    _forget_unreachable(database, retention)
    _remove_orphans(database, folder, retention)
    return n_expired


def remove_deleted(database: FeedbackDatabase, folder: JobFolder) -> None:
    """Remove the files of deleted jobs of this folder, then their rows."""
    deleted = (jobs_table.c.folder == folder.identity, jobs_table.c.state == "deleted")
    with database.read_transaction() as connection:
        job_ids = connection.scalars(select(jobs_table.c.id).where(*deleted)).all()
    for job_id in job_ids:
        folder.remove(job_id)
    for first in range(0, len(job_ids), _BATCH):
        forget_jobs(database, job_ids[first : first + _BATCH])


def _expire(database: FeedbackDatabase) -> int:
    """Delete the results of expired jobs and of uploads that have ended with their worker."""
    now = timestamp()
    upload = jobs_table.c.state == "uploading"
    due = (
        (jobs_table.c.state != "deleted"),
        (jobs_table.c.lease_until < now),
        upload | (jobs_table.c.expires_at <= now),
    )
    with database.read_transaction() as connection:
        if connection.scalar(select(jobs_table.c.id).where(*due).limit(1)) is None:
            return 0
    with database.write_transaction(QUEUE_LOCK) as connection:
        rows = connection.execute(select(jobs_table.c.id, jobs_table.c.state).where(*due)).all()
        for first in range(0, len(rows), _BATCH):
            mark_deleted(connection, [row.id for row in rows[first : first + _BATCH]])
    return sum(row.state != "uploading" for row in rows)


def _forget_unreachable(database: FeedbackDatabase, retention: timedelta) -> None:
    """Delete the rows of jobs whose folder no longer runs: nobody has removed their files."""
    long_ago = timestamp(datetime.now(UTC) - retention)
    old = (jobs_table.c.state == "deleted", jobs_table.c.expires_at < long_ago)
    with database.read_transaction() as connection:
        job_ids = connection.scalars(select(jobs_table.c.id).where(*old)).all()
    for first in range(0, len(job_ids), _BATCH):
        forget_jobs(database, job_ids[first : first + _BATCH])


def _remove_orphans(database: FeedbackDatabase, folder: JobFolder, retention: timedelta) -> None:
    """Remove files of jobs that have ended, and old ones that the database does not know.

    Unknown ones may belong to another database that the folder was used with.
    """
    found = dict(folder.jobs())
    states = _states(database, list(found))
    for job_id, age_seconds in found.items():
        state = states.get(job_id)
        is_old = age_seconds > retention.total_seconds()
        if (state is None and is_old) or (state is not None and state not in UNFINISHED):
            folder.remove(job_id)


def _states(database: FeedbackDatabase, job_ids: Sequence[str]) -> dict[str, str]:
    states: dict[str, str] = {}
    with database.read_transaction() as connection:
        for first in range(0, len(job_ids), _BATCH):
            some = jobs_table.c.id.in_(job_ids[first : first + _BATCH])
            rows = connection.execute(select(jobs_table.c.id, jobs_table.c.state).where(some))
            states.update((row.id, row.state) for row in rows)
    return states
