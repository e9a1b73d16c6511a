"""Events of long recordings over the time of day, or over the recordings' own time."""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime

HOUR_SECONDS = 3600
# Steps of the recordings' own time; the shortest one that gives at most so many columns is used.
_STEPS_SECONDS = (60, 300, 600, 1800, 3600, 4 * 3600, 24 * 3600)
MAX_COLUMNS, MAX_LABELS = 24, 30


@dataclass(frozen=True)
class RateCell:
    """Events of a label in one column; ``rate`` is None where nothing was recorded."""

    count: int
    rate: float | None
    share: float


@dataclass(frozen=True)
class RateRow:
    """Events of one label: all of them, by hour of recording, and in each column."""

    label: str
    count: int
    rate: float
    cells: tuple[RateCell, ...]


@dataclass(frozen=True)
class RateTable:
    """Events per hour of recording and label; ``hours`` is recorded in each of ``columns``."""

    columns: tuple[str, ...]
    hours: tuple[float, ...]
    rows: tuple[RateRow, ...]
    files: int
    further_labels: int


@dataclass
class EventRates:
    """Counts of events by label and minute: of the day, or of a recording's own time."""

    of_day: bool
    files: int = 0
    seconds: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    counts: dict[str, Counter[int]] = field(default_factory=dict)

    def add_event(self, label: str, start_seconds: float, recorded_at: datetime | None) -> None:
        """Count an event that starts so long after the start of its recording."""
        minute = int((_seconds_of_day(recorded_at) + start_seconds) // 60)
        self.counts.setdefault(label, Counter())[self._wrap(minute)] += 1

    def add_recording(self, length_seconds: float, recorded_at: datetime | None) -> None:
        """Count the minutes that a recording covers."""
        self.files += 1
        at, end = _seconds_of_day(recorded_at), _seconds_of_day(recorded_at) + length_seconds
        while at < end:
            minute = int(at // 60)
            until = min(end, 60.0 * (minute + 1))
            self.seconds[self._wrap(minute)] += until - at
            at = until

    def table(self) -> RateTable | None:
        """Rates over the hours of the day, or over columns of the recordings' own time."""
        if not self.files:
            return None
        step, columns = self._columns()
        recorded: defaultdict[int, float] = defaultdict(float)
        for minute, seconds in self.seconds.items():
            recorded[minute * 60 // step] += seconds
        hours = [recorded[column] / HOUR_SECONDS for column in range(len(columns))]
        ranked = sorted(self.counts.items(), key=lambda item: (-item[1].total(), item[0]))
        return RateTable(
            columns=tuple(columns),
            hours=tuple(hours),
            rows=tuple(_row(label, counts, step, hours) for label, counts in ranked[:MAX_LABELS]),
            files=self.files,
            further_labels=max(0, len(ranked) - MAX_LABELS),
        )

    def _wrap(self, minute: int) -> int:
        return minute % (24 * 60) if self.of_day else minute

    def _columns(self) -> tuple[int, list[str]]:
        """Seconds of a column, and the names of the columns."""
        if self.of_day:
            return HOUR_SECONDS, [f"{hour:02}" for hour in range(24)]
        events = (minute for counts in self.counts.values() for minute in counts)
        length = 60 * (1 + max((*self.seconds, *events), default=0))
        step = next((s for s in _STEPS_SECONDS if length <= s * MAX_COLUMNS), 0)
        step = step or -(-length // (MAX_COLUMNS * HOUR_SECONDS)) * HOUR_SECONDS
        return step, [_clock(column * step) for column in range(-(-length // step))]


def _row(label: str, counts: Counter[int], step: int, hours: list[float]) -> RateRow:
    by_column: Counter[int] = Counter()
    for minute, count in counts.items():
        by_column[minute * 60 // step] += count
    rates = [
        by_column[column] / recorded if recorded else None for column, recorded in enumerate(hours)
    ]
    highest = max((rate for rate in rates if rate is not None), default=0.0) or 1.0
    cells = (
        RateCell(by_column[column], rate, (rate or 0.0) / highest)
        for column, rate in enumerate(rates)
    )
    total = counts.total()
    return RateRow(label, total, total / sum(hours) if sum(hours) else 0.0, tuple(cells))


def _seconds_of_day(moment: datetime | None) -> float:
    return 0.0 if moment is None else 3600.0 * moment.hour + 60 * moment.minute + moment.second


def _clock(seconds: int) -> str:
    return f"{seconds // HOUR_SECONDS}:{seconds % HOUR_SECONDS // 60:02}"
