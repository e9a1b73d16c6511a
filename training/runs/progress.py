"""Live progress on stderr: a panel or a bar on a terminal, lines otherwise."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from earful.service.core.echo import echo

if TYPE_CHECKING:  # torch, which the commands that only show a bar do without
    from earful.training.trainer.checkpoint import EpochRecord


@dataclass(frozen=True)
class TrainingProgress:
    """Callbacks of a run.

    ``on_batch`` gets (epoch, batches done, batches in the epoch), ``on_epoch`` each finished epoch,
    ``on_note`` messages for the user.
    """

    on_batch: Callable[[int, int, int], None] = lambda epoch, done, total: None
    on_epoch: "Callable[[EpochRecord], None]" = lambda record: None
    on_note: Callable[[str], None] = lambda note: None


def format_epoch(record: "EpochRecord", epochs: int) -> str:
    """One epoch in one line."""
    return (
        f"epoch {record.epoch:>3}/{epochs}"
        f"  loss {record.loss:.4f}{_accuracy(record.accuracy)}"
        f"  validation loss {record.val_loss:.4f}{_accuracy(record.val_accuracy)}"
        f"  {record.seconds:.1f} s"
    )


def _accuracy(accuracy: float | None) -> str:
    return "" if accuracy is None else f"  {100 * accuracy:5.1f} %"


@contextlib.contextmanager
def training_progress(
    epochs: int, batch_size: int | None = None, *, show: bool = True
) -> Iterator[TrainingProgress]:
    """Print a line per epoch and new warning; on a terminal with a live panel below.

    With ``batch_size`` the panel shows clips per second, without it batches. Without ``show``
    nothing is printed.
    """
    if not show:
        yield TrainingProgress()
        return
    if not sys.stderr.isatty():
        yield TrainingProgress(on_epoch=_epoch_printer(epochs, _echo), on_note=_echo)
        return
    from earful.training.runs.live_view import LivePanel

    run, console = LivePanel(epochs, batch_size), _stderr()

    def print_line(line: str) -> None:
        """Print above the panel; printing past the console would write into it."""
        console.print(line, markup=False)

    print_epoch = _epoch_printer(epochs, print_line)

    def on_epoch(record: "EpochRecord") -> None:
        print_epoch(record)
        run.on_epoch(record)

    with Live(run, console=console, transient=True):
        yield TrainingProgress(run.on_batch, on_epoch, print_line)


def _epoch_printer(
    epochs: int, print_line: Callable[[str], None]
) -> "Callable[[EpochRecord], None]":
    """A callback that prints an epoch and the layer warnings not printed before."""
    new = _NewWarnings()

    def print_epoch(record: "EpochRecord") -> None:
        print_line(format_epoch(record, epochs))
        for warning in new.unseen(record):
            print_line(f"warning: {warning}")

    return print_epoch


class _NewWarnings:
    """Layer warnings, each once, even if its percentage changes."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    def unseen(self, record: "EpochRecord") -> list[str]:
        from earful.training.trainer.layer_health import layer_warnings, warning_key

        warnings = {warning_key(text): text for text in layer_warnings(record.layers)}
        new = [text for key, text in warnings.items() if key not in self._seen]
        self._seen |= set(warnings)
        return new


@contextlib.contextmanager
def work_progress(description: str, *, show: bool = True) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal; yields a callback that takes (done, total)."""
    if not show or not sys.stderr.isatty():
        yield lambda done, total: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_stderr(), transient=True) as bar:
        task = bar.add_task(description, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def note_printer(*, show: bool) -> Callable[[str], None]:
    """Prints a message for the user in a line; without ``show`` nothing."""
    return _echo if show else lambda note: None


def _echo(line: str) -> None:
    echo(line, err=True)


def _stderr() -> Console:
    return Console(stderr=True, highlight=False)
