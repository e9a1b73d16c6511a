"""Live panel of a run on a terminal: progress of the epoch, the last epochs, and curves.

A thread of rich redraws it four times a second; a batch only stores its number.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from earful.training.trainer.checkpoint import EpochRecord
from earful.training.trainer.layer_health import layer_warnings

# Epochs in the table; all of them are in the scrollback.
_ROWS = 5
# Narrower terminals show no training columns.
_MIN_WIDE_COLUMNS = 70
_BLOCKS = "▁▂▃▄▅▆▇█"
_SPARKLINE_WIDTH = 40
# The speed is the mean over this time.
_SPEED_SECONDS = 5.0


@dataclass
class LivePanel:
    """A panel of a run of at most ``epochs``; with ``batch_size`` it shows clips per second."""

    epochs: int
    batch_size: int | None = None
    batch: tuple[int, int, int] = (1, 0, 0)  # epoch, batches done, batches in all
    history: list[EpochRecord] = field(default_factory=list)
    _marks: list[tuple[float, int]] = field(default_factory=list)

    def on_batch(self, epoch: int, done: int, total: int) -> None:
        """Store the progress; drawing reads it later."""
        self.batch = (epoch, done, total)

    def on_epoch(self, record: EpochRecord) -> None:
        """Add a finished epoch; the panel shows the warnings of the latest one."""
        if self.history and record.epoch <= self.history[-1].epoch:  # the next run, as of folds
            self.history = []
        self.history = [*self.history, record]  # a new list: the drawing thread may read the old

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        history = self.history
        parts: list[RenderableType] = [self._progress_row(time.monotonic())]
        if history:
            parts.append(_table(history, wide=options.max_width >= _MIN_WIDE_COLUMNS))
            parts += _curves(history)
            parts += [
                Text(f"! {text}", style="yellow") for text in layer_warnings(history[-1].layers)
            ]
        epoch = min(self.batch[0], self.epochs)
        title = f"epoch {epoch} of {self.epochs} at most"
        yield Panel(Group(*parts), title=title, title_align="left", border_style="dim")

    def _progress_row(self, now: float) -> Table:
        _, done, total = self.batch
        line = Table.grid(padding=(0, 2), expand=True)
        line.add_column(ratio=1)
        cells = [f"{done}/{total}"]
        batch_rate = self._batches_per_second(now)
        if batch_rate:
            shown_rate = batch_rate * (self.batch_size or 1)
            cells.append(f"{shown_rate:,.0f} {'clips' if self.batch_size else 'batches'}/s")
        if seconds_left := self._seconds_left(batch_rate):
            cells.append(f"{_format_duration(seconds_left)} left")
        for _ in cells:
            line.add_column(justify="right", no_wrap=True)
        line.add_row(ProgressBar(total=max(total, 1), completed=done), *cells)
        return line

    def _batches_per_second(self, now: float) -> float:
        epoch, done, total = self.batch
        batches_done = (epoch - 1) * total + done
        self._marks = [mark for mark in self._marks if now - mark[0] < _SPEED_SECONDS]
        self._marks.append((now, batches_done))
        then, before = self._marks[0]
        if now <= then or batches_done <= before:
            return 0.0
        return (batches_done - before) / (now - then)

    def _seconds_left(self, batch_rate: float) -> float:
        """Seconds to the last epoch, by the mean of the last three; early stopping is ignored."""
        epoch, done, total = self.batch
        epochs_left = max(0, self.epochs - epoch)
        if last := self.history[-3:]:
            epoch_seconds = sum(record.seconds for record in last) / len(last)
            return epoch_seconds * (epochs_left + (1 - done / total if total else 0))
        return (total - done + epochs_left * total) / batch_rate if batch_rate else 0.0


def _table(history: Sequence[EpochRecord], *, wide: bool) -> Table:
    """The last epochs; the best one is always in it, in bold."""
    best = min(history, key=lambda record: record.val_loss)
    last = history[-_ROWS:]
    rows = last if best in last else [best, *last[1:]]
    columns = _COLUMNS if wide else {name: _COLUMNS[name] for name in _NARROW}
    table = Table(box=None, padding=(0, 1), header_style="dim")
    for head in columns:
        table.add_column(head, justify="right", no_wrap=True)
    for record in rows:
        mark = "best" if record is best else ""
        cells = [cell(record) for cell in columns.values()]
        table.add_row(*cells, mark, style="bold green" if mark else None)
    return table


def _curves(history: Sequence[EpochRecord]) -> list[Text]:
    """Sparklines of validation loss and accuracy; empty before the third epoch."""
    lines = [("val loss", [record.val_loss for record in history])]
    accuracies = [r.val_accuracy for r in history if r.val_accuracy is not None]
    if accuracies:
        lines.append(("val accuracy", accuracies))
    if len(history) < 3:
        return []
    return [Text(f" {name:<13}{sparkline(values)}", style="dim") for name, values in lines]


def sparkline(values: Sequence[float], width: int = _SPARKLINE_WIDTH) -> str:
    """Values as blocks of eight heights, at most ``width``; neighbours are averaged."""
    n = min(width, len(values))
    edges = [round(i * len(values) / n) for i in range(n + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
    low, high = min(means), max(means)
    steps = len(_BLOCKS) - 1
    return "".join(
        _BLOCKS[round(steps * (mean - low) / (high - low)) if high > low else 0] for mean in means
    )


_COLUMNS: dict[str, Callable[[EpochRecord], str]] = {
    "epoch": lambda record: str(record.epoch),
    "loss": lambda record: f"{record.loss:.4f}",
    "val loss": lambda record: f"{record.val_loss:.4f}",
    "accuracy": lambda record: _percent(record.accuracy),
    "val accuracy": lambda record: _percent(record.val_accuracy),
    "rate": lambda record: f"{record.learning_rate:.2g}",
    "s": lambda record: f"{record.seconds:.1f}",
}
_NARROW = ("epoch", "val loss", "val accuracy", "s")


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.1f} %"


def _format_duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
