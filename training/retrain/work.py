"""The folder of a retraining: one at a time works there, says how far it is, and can be killed.

WORK/NAME/lock         held while one works here
WORK/NAME/status.json  how far it is, or how it ended
WORK/NAME/RECIPE/      what is finished of one retraining: labels.csv, dataset, run, model
"""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from data.staging import staged_file
from models.registry.records import now
from training.config import TrainingError

LOCK, STATUS = "lock", "status.json"

State = Literal["running", "done", "failed"]


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
            TrainingError: another is at work.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise TrainingError(
                    f"another retraining works in {self.folder}; {STATUS} there says how far it "
                    "is. Wait for its end, or end it: nothing of it is lost"
                ) from None
            yield

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
