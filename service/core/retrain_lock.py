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
from earful.models.registry.records import now

LOCK, STATUS, _STARTING = "lock", "status.json", "starting"

State = Literal["running", "done", "failed"]
# A look at the lock holds it for an instant, which a run that begins just then waits out.
_TRIES, _TRY_SECONDS = 10, 0.02


class WorkError(EarfulError):
    """Another retraining is at work, or what it wrote down cannot be read."""


@dataclass(frozen=True)
class Status:
    """How far a retraining is; ``done`` of ``total`` steps of its ``stage``."""

    state: State
    stage: str
    done: int
    total: int
    message: str
    started: str
    pid: int


class Work:
    """The folder of the retrainings of one model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started = now()

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one here.

        Raises:
            WorkError: another is at work.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("a") as file:
            if not _take(file):
                raise WorkError(
                    f"another retraining works in {self.folder}; {STATUS} there says how far it "
                    "is. Wait for its end, or end it: nothing of it is lost"
                )
            yield

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """Be the only one, among the workers of a service, who looks and starts."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / _STARTING).open("a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def is_running(self) -> bool:
        """Whether a retraining works here now."""
        try:
            with (self.folder / LOCK).open("a") as file:
                return not _take(file, tries=1)
        except FileNotFoundError:
            return False

    def status(self) -> Status | None:
        """What the last retraining wrote down; None where there was none.

        Raises:
            WorkError: it cannot be read.
        """
        path = self.folder / STATUS
        try:
            status = Status(**json.loads(path.read_text("utf-8")))
            datetime.datetime.fromisoformat(status.started)
            return status
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as error:
            raise WorkError(f"{path} is damaged: {error}; remove it") from error

    def of_recipe(self, recipe: str) -> Path:
        """The folder of one recipe; what others left behind is removed."""
        mine = self.folder / recipe
        for other in self.folder.iterdir():
            if other.is_dir() and other != mine:
                shutil.rmtree(other)
        mine.mkdir(exist_ok=True)
        return mine

    def tell(
        self, stage: str, done: int = 0, total: int = 0, state: State = "running", message: str = ""
    ) -> None:
        """Write down how far it is."""
        status = Status(state, stage, done, total, message, self._started, os.getpid())
        with staged_file(self.folder / STATUS) as staging:
            staging.write_text(json.dumps(asdict(status)) + "\n", "utf-8")


def _take(file: IO[str], tries: int = _TRIES) -> bool:
    for _ in range(tries):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_TRY_SECONDS)
        else:
            return True
    return False
