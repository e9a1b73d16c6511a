"""The progress bar of file batches: files a second, failures, time left. On stderr."""

import contextlib
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class _RateColumn(ProgressColumn):
    """Finished files a second."""

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:,.0f} files/s")


@contextlib.contextmanager
def file_progress(what: str, total: int) -> Iterator[Callable[[bool], None]]:
    """A live bar; call what is yielded once a file, with whether it failed."""
    failed = 0
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _RateColumn(),
        TextColumn("{task.fields[failed]} failed"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total, failed=0)

        def on_file(file_failed: bool) -> None:
            nonlocal failed
            failed += file_failed
            progress.update(task, advance=1, failed=failed)

        yield on_file
