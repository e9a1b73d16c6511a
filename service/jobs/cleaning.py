"""Deletes jobs that are older than they are kept, uploads that never ended, and files left over."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import ColumnElement, select

from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.tables import timestamp
from earful.service.jobs.job_folder import JobFolder
from earful.service.jobs.submission import QUEUE_LOCK, batches, forget_jobs, mark_deleted
from earful.service.jobs.tables import UNFINISHED, jobs_table


def clean_jobs(database: FeedbackDatabase, folder: JobFolder, retention: timedelta) -> int:
    """Delete what is due; how many jobs expired. Several workers may do it at a time."""
    n_expired = _expire(database)
    remove_deleted(database, folder)
    _forget_unreachable(database, retention)
    _remove_orphans(database, folder, retention)
    return n_expired


def remove_deleted(database: FeedbackDatabase, folder: JobFolder) -> None:
    """Remove the files of deleted jobs of this folder, then their rows."""
    job_ids = _deleted(database, jobs_table.c.folder == folder.identity)
    for job_id in job_ids:
        folder.remove(job_id)
    forget_jobs(database, job_ids)


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
        mark_deleted(connection, [row.id for row in rows])
    return sum(row.state != "uploading" for row in rows)


def _forget_unreachable(database: FeedbackDatabase, retention: timedelta) -> None:
    """Delete the rows of jobs whose folder no longer runs: nobody has removed their files."""
    long_ago = timestamp(datetime.now(UTC) - retention)
    forget_jobs(database, _deleted(database, jobs_table.c.expires_at < long_ago))


def _deleted(database: FeedbackDatabase, where: ColumnElement[bool]) -> Sequence[str]:
    """The ids of deleted jobs."""
    deleted = select(jobs_table.c.id).where(jobs_table.c.state == "deleted", where)
    with database.read_transaction() as connection:
        return connection.scalars(deleted).all()


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
        for some in batches(job_ids):
            known = select(jobs_table.c.id, jobs_table.c.state).where(jobs_table.c.id.in_(some))
            states.update((row.id, row.state) for row in connection.execute(known))
    return states
