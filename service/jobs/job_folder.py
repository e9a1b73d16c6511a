"""The folder of uploads.

DIR/id               identity of the folder, which its jobs carry in the database
DIR/jobs.db          the database of jobs if feedback is off
DIR/uploads/ID.part/ files of a job that are arriving
DIR/uploads/ID/      files of an unfinished job, named 0, 1, 2, ...; each is deleted when it is done
"""

import os
import secrets
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from earful.service.core.settings import Settings
from earful.service.jobs.records import JobsError

_PART = ".part"


class JobFolder:
    """A folder that all workers of a machine, and replicas that mount it, share."""

    def __init__(self, root: Path) -> None:
        self.root, self._uploads = root, root / "uploads"

    def prepare(self) -> None:
        """Create the folder and its identity if they are missing; check that it is writable.

        Raises:
            JobsError: it cannot be used.
        """
        try:
            self._uploads.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._create_identity()
            self.identity = self._identity_file.read_text("ascii")
        except (OSError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or "damaged"
            raise JobsError(
                f"cannot use {self.root} for jobs: {reason}; set EARFUL_JOBS_DIR to a writable "
                "folder, or to off"
            ) from error
        if not os.access(self._uploads, os.W_OK):
            raise JobsError(f"cannot write into {self._uploads}; set EARFUL_JOBS_DIR")

    @property
    def database_file(self) -> Path:
        return self.root / "jobs.db"

    def has_uploads(self) -> bool:
        """Whether there are uploads, and so jobs to run or to remove."""
        with os.scandir(self._uploads) as entries:
            return any(entries)

    def free_bytes(self) -> int:
        return shutil.disk_usage(self._uploads).free

    def incoming(self, job_id: str) -> Path:
        """The folder in which the files of a job arrive."""
        return self._uploads / f"{job_id}{_PART}"

    def path(self, job_id: str, position: int) -> Path:
        return self._uploads / job_id / str(position)

    def complete(self, job_id: str) -> None:
        """Turn the arrived files of a job into its uploads, so that they survive a power loss."""
        incoming = self.incoming(job_id)
        _sync_folder(incoming)
        incoming.rename(self._uploads / job_id)
        _sync_folder(self._uploads)

    def remove_file(self, job_id: str, position: int) -> None:
        self.path(job_id, position).unlink(missing_ok=True)

    def remove(self, job_id: str) -> None:
        """Delete all files of a job."""
        for folder in (self._uploads / job_id, self.incoming(job_id)):
            shutil.rmtree(folder, ignore_errors=True)

    def jobs(self) -> Iterator[tuple[str, float]]:
        """(id, seconds since the last change) of each job with files here."""
        now = time.time()
        for path in self._uploads.iterdir():
            try:
                age_seconds = now - path.stat().st_mtime
            except FileNotFoundError:  # removed meanwhile
                continue
            yield path.name.removesuffix(_PART), age_seconds

    @property
    def _identity_file(self) -> Path:
        return self.root / "id"

    def _create_identity(self) -> None:
        if self._identity_file.exists():
            return
        staging = self.root / f"id.{secrets.token_hex(8)}"
        staging.write_text(secrets.token_hex(16), "ascii")
        try:
            self._identity_file.hardlink_to(staging)
        except FileExistsError:  # another worker was first
            pass
        finally:
            staging.unlink()


def check_jobs_folder(settings: Settings) -> None:
    """Check that a folder given in the settings can be used, before workers are started.

    Raises:
        JobsError: it cannot be used.
    """
    if settings.jobs_dir is not None and (root := settings.jobs_folder()) is not None:
        JobFolder(root).prepare()


def _sync_folder(folder: Path) -> None:
    """Make names in a folder durable; Windows opens no folder, and does so itself."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
