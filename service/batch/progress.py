"""The progress bar of a batch run on stderr: files/s, real-time factor, failures, time left."""

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

from earful.service.batch.request import BatchProgress
from earful.service.batch.settled_rows import RunStats


class _ProgressBar(BatchProgress):
    def __init__(self, bar: Progress, task: TaskID) -> None:
        self._bar, self._task = bar, task
        self._n_already_done = 0
        self._started = time.monotonic()

    def on_start(self, total: int, n_already_done: int) -> None:
        self._n_already_done, self._started = n_already_done, time.monotonic()
        self._bar.update(self._task, total=total, completed=n_already_done, description="classify")

    def on_progress(self, stats: RunStats, reading: int, seconds: float) -> None:
        elapsed = max(time.monotonic() - self._started, 1e-3)
        done, audio_seconds = stats.inputs + reading, stats.seconds + seconds
        speed = f"{done / elapsed:,.0f} files/s, {audio_seconds / elapsed:,.0f} × real time"
        self._bar.update(
            self._task, completed=self._n_already_done + done, speed=speed, failed=stats.n_failed
        )


@contextlib.contextmanager
def batch_progress() -> Iterator[BatchProgress]:
    """A progress bar to pass to ``run``; removed from the terminal at the end."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TextColumn("{task.fields[failed]} failed"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _ProgressBar(bar, bar.add_task("listing", total=None, speed="", failed=0))
