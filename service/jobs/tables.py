"""The tables of jobs, beside those of feedback. Times are text, as in ``feedback.tables``.

earful_jobs        one row per job. ``lease`` names who works on it until ``lease_until``: the
                   request that uploads it or the worker that runs it.
earful_job_files   one row per file of a job, with its progress and result
earful_job_events  the events of a file in parts, each a JSON list without its brackets

States of a job:

    uploading -> waiting <-> running -> done | failed (every file failed)
         any of these -> deleted: its uploads lie in the folder of another machine, which removes
                         them and the row

States of a file: waiting <-> running -> done | failed
"""

from sqlalchemy import BigInteger, Column, Float, Index, Integer, MetaData, Table, Text, select

from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.tables import meta
from earful.service.jobs.records import JobsError

SCHEMA_VERSION = 1
_VERSION_ROW = "jobs_schema_version"
metadata = MetaData()
jobs_table = Table(
    "earful_jobs",
    metadata,
    Column("id", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("folder", Text, nullable=False),  # identity of the folder that holds the uploads
    Column("n_bytes", BigInteger, nullable=False),  # of the uploads that are left
    Column("lease", Text, nullable=False),
    Column("lease_until", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
    Index("ix_earful_jobs_queue", "folder", "state", "created_at"),
)
job_files_table = Table(
    "earful_job_files",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("filename", Text, nullable=False),
    Column("n_bytes", BigInteger, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("seconds", Float),
    Column("seconds_done", Float, nullable=False),
    Column("label", Text),
    Column("score", Float),
    Column("model", Text),
    Column("error_code", Text),
    Column("error_message", Text),
)
job_events_table = Table(
    "earful_job_events",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("events", Text, nullable=False),
)
UNFINISHED = ("uploading", "waiting", "running")
FINISHED = ("done", "failed")


def create_job_tables(database: FeedbackDatabase) -> None:
    """Create the tables once, also when several processes start together.

    Raises:
        JobsError: they are there in another version.
        DatabaseUnavailable: the database is locked for too long, or unreachable.
    """
    version_row = select(meta.c.value).where(meta.c.name == _VERSION_ROW)
    with database.read_transaction() as connection:
        version = connection.scalar(version_row)
    if version is None:
        with database.write_transaction(_VERSION_ROW) as connection:
            version = connection.scalar(version_row)
            if version is None:
                metadata.create_all(connection)
                version = str(SCHEMA_VERSION)
                connection.execute(meta.insert(), [{"name": _VERSION_ROW, "value": version}])
    if version != str(SCHEMA_VERSION):
        raise JobsError(
            f"{database.address} has jobs of version {version[:20]!r}, this program needs "
            f"{SCHEMA_VERSION}; use the program version that created them, or another database"
        )
