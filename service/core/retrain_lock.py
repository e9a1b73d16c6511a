"""The work folder of a model's retraining: lock, progress, and finished steps.

WORK/NAME/lock         held while a retraining runs
WORK/NAME/status.json  its progress, or how it ended
WORK/NAME/HASH/        finished steps of one retraining request: labels.csv, dataset, run, model
"""

import contextlib
import datetime
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from earful.data.atomic_write import write_json
from earful.data.errors import EarfulError
from earful.data.text.json_input import STRICT, parse_json
from earful.models.registry.records import utc_now
from earful.service.core.label_changes import MAX_LISTED_CHANGES, LabelChange

LOCK_FILE, STATUS_FILE, _START_LOCK_FILE = "lock", "status.json", "starting"

RetrainState = Literal["running", "done", "failed"]
# ``is_running`` holds the lock for an instant, so a run that starts then waits for it.
_LOOKING_SECONDS = 0.2


class RetrainFolderError(EarfulError):
    """Another retraining is running, or its status cannot be read."""


@dataclass(frozen=True)
class RetrainResult:
    """The version that a retraining registered or found, and the gate's reasons against it."""

    __pydantic_config__ = STRICT

    number: int | None
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class RetrainStatus:
    """Progress of a retraining: ``done`` of ``total`` steps of its ``stage``.

    changed, kept                numbers of labels that it changes, and of curated ones it keeps
    changed_labels, kept_labels  the first of them
    result                       of one that has ended; its version is None if none was registered
    """

    __pydantic_config__ = STRICT

    state: RetrainState
    stage: str
    done: int
    total: int
    message: str
    started: str
    pid: int
    changed: int = 0
    kept: int = 0
    changed_labels: tuple[LabelChange, ...] = ()
    kept_labels: tuple[LabelChange, ...] = ()
    result: RetrainResult | None = None

    def __post_init__(self) -> None:
        if datetime.datetime.fromisoformat(self.started).tzinfo is None:
            raise ValueError(f"started has no time zone, found {self.started!r}")


class RetrainFolder:
    """The work folder of one model's retrainings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started = utc_now()
        self._changed: tuple[LabelChange, ...] = ()
        self._kept: tuple[LabelChange, ...] = ()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of the folder.

        Raises:
            RetrainFolderError: another retraining holds it.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(self.folder / LOCK_FILE)
        try:
            lock.acquire(timeout=_LOOKING_SECONDS)
        except Timeout:
            raise RetrainFolderError(
                f"another retraining is running in {self.folder}; see {STATUS_FILE} there. "
                "Wait until it ends, or stop it: the next one continues from its finished steps"
            ) from None
        try:
            yield
        finally:
            lock.release()

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Let only one worker of a service at a time check and start a retraining."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / _START_LOCK_FILE):
            yield

    def is_running(self) -> bool:
        """Whether a retraining is running."""
        if not self.folder.is_dir():
            return False
        try:
            with FileLock(self.folder / LOCK_FILE, blocking=False):
                return False
        except Timeout:
            return True

    def status(self) -> RetrainStatus | None:
        """The status of the last retraining; None if there was none.

        Raises:
            RetrainFolderError: it cannot be read.
        """
        path = self.folder / STATUS_FILE
        try:
            return parse_json(RetrainStatus, path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RetrainFolderError(f"{path} is damaged: {error}; remove it") from error

    def run_folder(self, name: str) -> Path:
        """The folder of one request; folders of other requests are deleted."""
        folder = self.folder / name
        for other in self.folder.glob("[!.]*"):  # hidden ones are of writes in progress
            if other.is_dir() and other != folder:
                shutil.rmtree(other)
        folder.mkdir(exist_ok=True)
        return folder

    def set_changes(self, changed: tuple[LabelChange, ...], kept: tuple[LabelChange, ...]) -> None:
        """Have every status from now on say what the retraining changes and keeps."""
        self._changed, self._kept = changed, kept

    def write_status(
        self,
        stage: str,
        done: int = 0,
        total: int = 0,
        state: RetrainState = "running",
        message: str = "",
        result: RetrainResult | None = None,
    ) -> None:
        """Write the status."""
        status = RetrainStatus(
            state=state,
            stage=stage,
            done=done,
            total=total,
            message=message,
            started=self._started,
            pid=os.getpid(),
            changed=len(self._changed),
            kept=len(self._kept),
            changed_labels=self._changed[:MAX_LISTED_CHANGES],
            kept_labels=self._kept[:MAX_LISTED_CHANGES],
            result=result,
        )
        write_json(self.folder / STATUS_FILE, asdict(status))
