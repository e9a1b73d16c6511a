"""Creates the tables of jobs in a feedback database, or in one of their own."""

from sqlalchemy import select

from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.tables import meta
from earful.service.jobs.errors import JobsError
from earful.service.jobs.tables import metadata

SCHEMA_VERSION = 1
_VERSION_ROW = "jobs_schema_version"


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
