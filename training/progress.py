"""Live progress on stderr: a bar on a terminal, a line an epoch where it goes to a log."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

if TYPE_CHECKING:  # torch, which the commands that only show a bar do without
    from training.checkpoint import EpochRecord


@dataclass(frozen=True)
class TrainingProgress:
    """Who hears of a run as it goes.

    (epoch, batches done, batches in all), finished epochs, and what a person should know.
    """

    on_batch: Callable[[int, int, int], None] = lambda epoch, done, total: None
    on_epoch: "Callable[[EpochRecord], None]" = lambda record: None
    on_note: Callable[[str], None] = lambda note: None


def describe(record: "EpochRecord", epochs: int) -> str:
    """One epoch in one line."""
    return (
        f"epoch {record.epoch:>3}/{epochs}"
        f"  loss {record.loss:.4f}{_accuracy(record.accuracy)}"
        f"  validation loss {record.val_loss:.4f}{_accuracy(record.val_accuracy)}"
        f"  {record.seconds:.1f} s"
    )


def _accuracy(accuracy: float | None) -> str:
    return "" if accuracy is None else f"  accuracy {100 * accuracy:5.1f} %"


@contextlib.contextmanager
def training_progress(epochs: int) -> Iterator[TrainingProgress]:
    """A line for every epoch, and on a terminal a bar for the one that runs."""
    if not sys.stderr.isatty():
        yield TrainingProgress(
            on_epoch=lambda record: typer.echo(describe(record, epochs), err=True)
        )
        return
    columns = (
        TextColumn("epoch {task.fields[epoch]}"), BarColumn(), MofNCompleteColumn(),
        TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", epoch=1, total=None)

        def on_batch(epoch: int, done: int, total: int) -> None:
            bar.update(task, epoch=epoch, completed=done, total=total)

        yield TrainingProgress(on_batch, lambda record: bar.console.print(describe(record, epochs)))


@contextlib.contextmanager
def work_progress(what: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for counted work, on a terminal; call what is yielded with (done, total)."""
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
