"""The folder of a retraining: one at a time works there, says how far it is, and can be killed.

WORK/NAME/lock         held while one works here
WORK/NAME/status.json  how far it is, or how it ended
WORK/NAME/RECIPE/      what is finished of one retraining: labels.csv, dataset, run, model
"""

import contextlib
import datetime
import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Literal

from earful.data.atomic_write import staged_file
from earful.data.errors import EarfulError
from earful.models.registry.records import utc_now

LOCK_FILE, STATUS_FILE, _START_LOCK_FILE = "lock", "status.json", "starting"

RetrainState = Literal["running", "done", "failed"]
# A look at the lock holds it for an instant, which a run that begins just then waits out.
_TRIES, _TRY_SECONDS = 10, 0.02


class RetrainFolderError(EarfulError):
    """Another retraining is at work, or what it wrote down cannot be read."""


@dataclass(frozen=True)
class RetrainStatus:
    """How far a retraining is; ``done`` of ``total`` steps of its ``stage``."""

    state: RetrainState
    stage: str
    done: int
    total: int
    message: str
    started: str
    pid: int


class RetrainFolder:
    """The folder of the retrainings of one model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started = utc_now()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one here.

        Raises:
            WorkError: another is at work.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK_FILE).open("a") as file:
            if not _try_lock(file):
                raise RetrainFolderError(
                    f"another retraining works in {self.folder}; {STATUS_FILE} there says how far it "
                    "is. Wait for its end, or end it: nothing of it is lost"
                )
            yield

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Be the only one, among the workers of a service, who looks and starts."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _START_LOCK_FILE).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def is_running(self) -> bool:
        """Whether a retraining works here now."""
        try:
            with (self.folder / LOCK_FILE).open("a") as file:
                return not _try_lock(file, tries=1)
        except FileNotFoundError:
            return False

    def status(self) -> RetrainStatus | None:
        """What the last retraining wrote down; None where there was none.

        Raises:
            WorkError: it cannot be read.
        """
        path = self.folder / STATUS_FILE
        try:
            status = RetrainStatus(**json.loads(path.read_text("utf-8")))
            datetime.datetime.fromisoformat(status.started)
            return status
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise RetrainFolderError(f"{path} is damaged: {error}; remove it") from error

    def run_folder(self, name: str) -> Path:
        """The folder of one recipe; what others left behind is removed."""
        folder = self.folder / name
        for other in self.folder.iterdir():
            if other.is_dir() and other != folder:
                shutil.rmtree(other)
        folder.mkdir(exist_ok=True)
        return folder

    def write_status(
        self,
        stage: str,
        done: int = 0,
        total: int = 0,
        state: RetrainState = "running",
        message: str = "",
    ) -> None:
        """Write down how far it is."""
        status = RetrainStatus(state, stage, done, total, message, self._started, os.getpid())
        with staged_file(self.folder / STATUS_FILE) as staging:
            staging.write_text(json.dumps(asdict(status)) + "\n", "utf-8")


def _try_lock(file: IO[str], tries: int = _TRIES) -> bool:
    for _ in range(tries):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_TRY_SECONDS)
        else:
            return True
    return False
