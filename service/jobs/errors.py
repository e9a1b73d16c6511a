"""Errors of jobs.

JobsError        the folder or the database of jobs cannot be used
JobsFull         no more jobs, or no more bytes of uploads, are accepted now
JobLost          the job was deleted, or another worker has taken it
"""

from earful.data.errors import EarfulError


class JobsError(EarfulError):
    """The folder or the database of jobs cannot be used."""


class JobsFull(JobsError):  # noqa: N818 - names a state
    """No more jobs, or no more bytes of uploads, are accepted now."""


class JobLost(JobsError):  # noqa: N818 - names a state
    """The job was deleted, or another worker has taken it."""
