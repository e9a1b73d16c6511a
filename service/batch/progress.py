"""The progress bar of a batch on stderr: files a second, times real time, failures, time left."""

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from earful.service.batch import run
from earful.service.batch.shards import Tally


class _Bar(run.Progress):
    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task
        self._kept = self._total = 0
        self._began = time.monotonic()

    def begin(self, total: int, kept: int) -> None:
        self._kept, self._began = kept, time.monotonic()
        self._bar.update(self._task, total=total, completed=kept, description="classify")

    def at(self, tally: Tally, reading: int, seconds: float) -> None:
        took = max(time.monotonic() - self._began, 1e-3)
        done, heard = tally.inputs + reading, tally.seconds + seconds
        speed = f"{done / took:,.0f} files/s, {heard / took:,.0f} × real time"
        self._bar.update(
            self._task, completed=self._kept + done, speed=speed, failed=tally.n_failed
        )


@contextlib.contextmanager
def batch_progress() -> Iterator[run.Progress]:
    """Who hears how a run goes, and shows it."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"), TextColumn("{task.fields[failed]} failed"),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Bar(bar, bar.add_task("listing", total=None, speed="", failed=0))
