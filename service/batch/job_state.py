"""The state of a run on disk, so that a run that was killed can continue.

A job folder beside the results holds:

    job.json      settings that affect results, the hash of the inputs, and whether the run is done
    inputs.jsonl  every input, in order
    parts/        the rows of each finished chunk
    lock          locked while a run uses the folder
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from earful.data.atomic_write import write_json
from earful.data.text.json_input import STRICT, check, read_json
from earful.service.batch.chunks import InputsFingerprint
from earful.service.batch.errors import BatchError
from earful.service.batch.settled_rows import RunStats

SCHEMA_VERSION = 4
STATE_FILE, LOCK_FILE = "job.json", "lock"


@dataclass(frozen=True)
class ResultsFingerprint:
    """Count, total size and latest modification time of all files, to detect later changes."""

    __pydantic_config__ = STRICT

    files: int
    bytes: int
    mtime_ns: int


@dataclass(frozen=True)
class JobState:
    """The content of job.json.

    settings         all settings that affect rows
    stats            statistics of a finished run
    results          those of a finished run
    pending_results  the results, saved before they are moved to --out: a run that
                     is killed during the move recognises them
    """

    __pydantic_config__ = STRICT

    settings: dict[str, Any]
    inputs: InputsFingerprint
    stats: RunStats | None = None
    results: ResultsFingerprint | None = None
    pending_results: ResultsFingerprint | None = None
    schema_version: int = SCHEMA_VERSION

    @classmethod
    def load(cls, folder: Path) -> "JobState | None":
        """Load the state of a job folder; None when it has none.

        Raises:
            BatchError: the state cannot be read.
        """
        path = folder / STATE_FILE
        try:
            values = check(dict[str, Any], read_json(path.read_bytes()))
            if (version := values.get("schema_version")) != SCHEMA_VERSION:
                raise ValueError(f"schema {version}")
            return check(cls, values)
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise BatchError(
                f"{path} is damaged or from another version ({error}); start over with --restart"
            ) from error

    def save(self, folder: Path) -> None:
        write_json(folder / STATE_FILE, dataclasses.asdict(self))

    def differences(self, other: "JobState", ignoring: str = "") -> list[str]:
        """Readable differences to another state in settings (except ``ignoring``) and inputs."""
        mine, theirs = self.settings, other.settings
        changes = [
            f"{name} {mine.get(name)} -> {theirs.get(name)}"
            for name in sorted(mine.keys() | theirs.keys())
            if name != ignoring and mine.get(name) != theirs.get(name)
        ]
        if self.inputs != other.inputs:
            before, now = (f"{state.inputs.count:,}" for state in (self, other))
            changes.append(
                f"the inputs (still {now} files, but not the same or changed)"
                if before == now
                else f"the inputs ({before} -> {now})"
            )
        return changes


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Create and lock a job folder. The lock ends with the process, also when it is killed.

    Raises:
        BatchError: another run uses the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_FILE)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise BatchError(
            f"another run uses {folder}; wait for it, or give another --out"
        ) from error
    try:
        yield
    finally:
        lock.release()
