"""What the store of jobs takes and gives.

JobsError        the folder or the database of jobs cannot be used
JobsFull         no more jobs, or no more bytes of uploads, are accepted now
JobLost          the job was deleted, or another worker has taken it
"""

from dataclasses import dataclass
from datetime import timedelta

from earful.data.errors import EarfulError


class JobsError(EarfulError):
    """The folder or the database of jobs cannot be used."""


class JobsFull(JobsError):  # noqa: N818 - names a state
    """No more jobs, or no more bytes of uploads, are accepted now."""


class JobLost(JobsError):  # noqa: N818 - names a state
    """The job was deleted, or another worker has taken it."""


@dataclass(frozen=True)
class JobLimits:
    """Limits of all jobs, and how long a job is kept after its end.

    ``max_bytes`` is of the uploads of all unfinished jobs in one folder.
    """

    max_jobs: int
    max_bytes: int
    retention: timedelta


@dataclass(frozen=True)
class JobUpload:
    """A file that has arrived."""

    filename: str
    n_bytes: int


@dataclass(frozen=True)
class FileOutcome:
    """How a file ended: its length in seconds, its label if it is short, or its error."""

    seconds: float | None = None
    label: str | None = None
    score: float | None = None
    error_code: str | None = None
    error_message: str | None = None


@dataclass(frozen=True)
class FileView:
    """The state and the result so far of a file; ``events`` and ``model`` are JSON."""

    filename: str
    state: str
    seconds: float | None
    seconds_done: float
    label: str | None
    score: float | None
    model: str | None
    error_code: str | None
    error_message: str | None
    events: tuple[str, ...]


@dataclass(frozen=True)
class JobView:
    """A job and its files in the order of the upload."""

    id: str
    state: str
    created_at: str
    expires_at: str
    files: tuple[FileView, ...]


@dataclass(frozen=True)
class ClaimedFile:
    """An unfinished file of a job."""

    position: int
    attempts: int
    seconds: float | None


@dataclass(frozen=True)
class ClaimedJob:
    """A job that this worker runs, as long as its lease is ``lease``."""

    id: str
    lease: str
    files: tuple[ClaimedFile, ...]
