"""Long recordings in the results of ``classify``: those with several rows, or rows of a part."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from earful.data.audio.start_time import recording_start
from earful.data.labels.multilabel import split_labels
from earful.service.batch.rows import ResultRow
from earful.training.reports.event_rates import EventRates
from earful.training.reports.html_clips import file_seconds

# Rows kept to be heard of each label, and recordings that are listed.
EXAMPLES_PER_LABEL, MAX_LISTED = 3, 50
# Files with one row whose length is looked up: a million short clips would take minutes.
MAX_HEADERS = 10_000
# Such a row is part of a recording that lasts so much longer; decoders differ by less.
_REST_SECONDS = 0.1
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
    _filename: str | None = None
    _first: ResultRow | None = None  # at 0: that of a short clip, unless there is more
    _current: ListedRecording | None = None
    _last_end: float = 0.0
    _headers: int = 0

    @property
    def are_windows(self) -> bool:
        """Whether the rows are overlapping windows rather than events."""
        return self.overlaps > self.rows / 2

    def add(self, row: ResultRow) -> None:
        """Take a row; the rows of a file follow each other."""
        if row.filename != self._filename:
            self.finish()
            self._filename = row.filename
        if row.error or row.start is None or row.end is None:
            return
        if self._current is None and self._first is None and row.start == 0 and row.label:
            self._first = row
            return
        recording = self._current or self._begin(row.filename)
        self._count(row, recording)

    def finish(self) -> None:
        """The last row of a recording has been taken."""
        if self._first is not None and self._is_part(self._first):
            self._begin(self._first.filename)
        recording, self._current, self._first = self._current, None, None
        if recording is None:
            return
        if not recording.is_measured:
            recording.seconds = self._last_end
        self._rates(recording).add_recording(recording.seconds, recording.recorded_at)
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

    def _begin(self, filename: str) -> ListedRecording:
        """A long recording, with the row at its start that might have been a short clip."""
        path = self.folder / filename
        seconds = file_seconds(path)
        recording = ListedRecording(filename, recording_start(path), seconds, seconds > 0)
        self._current, self._last_end = recording, 0.0
        first, self._first = self._first, None
        if first is not None:
            self._count(first, recording)
        return recording

    def _is_part(self, row: ResultRow) -> bool:
        """Whether the only row of a file, which begins at 0, ends before the file does."""
        self._headers += 1
        if self._headers > MAX_HEADERS:
            return False
        return file_seconds(self.folder / row.filename) > (row.end or 0.0) + _REST_SECONDS

    def _count(self, row: ResultRow, recording: ListedRecording) -> None:
        start, end = row.start or 0.0, row.end or 0.0
        if row.label:
            for label in split_labels(row.label):
                self._rates(recording).add_event(label, start, recording.recorded_at)
            recording.rows += 1
            self.rows += 1
            self.overlaps += start < self._last_end - _OVERLAP_SECONDS
            self._keep_example(row)
        self._last_end = max(self._last_end, end)

    def _rates(self, recording: ListedRecording) -> EventRates:
        return self.by_time if recording.recorded_at is None else self.by_day

    def _keep_example(self, row: ResultRow) -> None:
        kept = self._examples.setdefault(row.label, [])
        heapq.heappush(kept, (row.score or 0.0, -self.rows, row))
        if len(kept) > EXAMPLES_PER_LABEL:
            heapq.heappop(kept)
