"""Long recordings in the results of ``classify``: those with several rows, or rows of a part."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import soundfile

from earful.data.audio.start_time import recording_start
from earful.data.labels.multilabel import split_labels
from earful.service.batch.rows import ResultRow
from earful.training.reports.event_rates import EventRates

# Rows kept to be heard of each label, and recordings that are listed.
EXAMPLES_PER_LABEL, MAX_LISTED = 3, 50
# Windows overlap; events follow each other.
_OVERLAP_SECONDS = 0.001


@dataclass
class ListedRecording:
    """One long recording; ``is_measured`` is whether its file was there to tell its length."""

    filename: str
    recorded_at: datetime | None
    seconds: float
    is_measured: bool
    rows: int = 0


@dataclass
class RecordingRows:
    """Rates of events, and the rows to hear, of the long recordings among the results.

    ``by_day`` has those whose start is known, ``by_time`` the others.
    """

    folder: Path
    by_day: EventRates = field(default_factory=lambda: EventRates(of_day=True))
    by_time: EventRates = field(default_factory=lambda: EventRates(of_day=False))
    listed: list[ListedRecording] = field(default_factory=list)
    files: int = 0
    rows: int = 0
    seconds: float = 0.0
    unmeasured: int = 0
    overlaps: int = 0
    _examples: dict[str, list[tuple[float, int, ResultRow]]] = field(default_factory=dict)
    _current: ListedRecording | None = None
    _pending: ResultRow | None = None
    _last_end: float = 0.0

    @property
    def are_windows(self) -> bool:
        """Whether the rows are overlapping windows rather than events."""
        return self.overlaps > self.rows / 2

    def add(self, row: ResultRow) -> None:
        """Take a row; the rows of a file follow each other."""
        previous = self._current.filename if self._current else None
        if self._pending is not None:
            previous = self._pending.filename
        if row.filename != previous:
            self.finish()
        if row.error or row.start is None or row.end is None:
            return
        is_one_clip = row.start == 0 and row.label
        if self._current is None and self._pending is None and is_one_clip:
            self._pending = row  # the only row of a short clip, unless another one follows
            return
        if self._current is None:
            self._current = self._open(row.filename)
        pending, self._pending = self._pending, None
        for each in (pending, row):
            if each is not None:
                self._count(each, self._current)

    def finish(self) -> None:
        """The last row of a recording has been taken."""
        recording, self._current, self._pending = self._current, None, None
        if recording is None:
            return
        if not recording.is_measured:
            recording.seconds = self._last_end
        rates = self.by_time if recording.recorded_at is None else self.by_day
        rates.add_recording(recording.seconds, recording.recorded_at)
        self.files += 1
        self.seconds += recording.seconds
        self.unmeasured += not recording.is_measured
        if len(self.listed) < MAX_LISTED:
            self.listed.append(recording)

    def examples(self, max_rows: int) -> Iterator[ResultRow]:
        """Rows to hear: the surest one of each label, then the second of each, and so on."""
        ranked = [sorted(rows, reverse=True) for _, rows in sorted(self._examples.items())]
        chosen = [
            rows[place][2]
            for place in range(EXAMPLES_PER_LABEL)
            for rows in ranked
            if place < len(rows)
        ][:max_rows]
        yield from sorted(chosen, key=lambda row: (row.label, -(row.score or 0)))

    def _open(self, filename: str) -> ListedRecording:
        path = self.folder / filename
        try:
            seconds = float(soundfile.info(path).duration)
        except (soundfile.SoundFileError, OSError, ValueError):
            seconds = 0.0
        self._last_end = 0.0
        return ListedRecording(filename, recording_start(path), seconds, seconds > 0)

    def _count(self, row: ResultRow, recording: ListedRecording) -> None:
        start, end = row.start or 0.0, row.end or 0.0
        if row.label:
            rates = self.by_time if recording.recorded_at is None else self.by_day
            for label in split_labels(row.label):
                rates.add_event(label, start, recording.recorded_at)
            recording.rows += 1
            self.rows += 1
            self.overlaps += start < self._last_end - _OVERLAP_SECONDS
            kept = self._examples.setdefault(row.label, [])
            heapq.heappush(kept, (row.score or 0.0, -self.rows, row))
            if len(kept) > EXAMPLES_PER_LABEL:
                heapq.heappop(kept)
        self._last_end = max(self._last_end, end)
