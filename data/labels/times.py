"""Times of clips inside their files: read from cells, in seconds, milliseconds or samples.

The names of the columns say the unit, or the numbers do: times that lie beyond most of their files
as seconds, and within them as milliseconds or as samples, are those. Times that fit no unit are
refused with the reason: most likely they belong to the recordings from which the files were cut.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median

from earful.data.audio.audio_length import read_duration_and_rate
from earful.data.audio.decode import AudioError
from earful.data.labels.clip import Clip
from earful.data.labels.text_file import LabelsError
from earful.data.labels.time_columns import TimeUnit

# Enough files to tell the unit by; they are spread over the table.
_PROBES = 50
_MIN_ROWS = 2
# Of windows whose length is the same but for rounding.
_SAME_SECONDS = 1e-3
ROUNDING_SECONDS = 0.01
_CLOCK = re.compile(r"^(?:(\d+):)?(\d{1,2}):(\d{1,2}(?:\.\d+)?)$")
# Of a usual clip in each unit: 20 ms, at 8 kHz.
_LEAST: dict[TimeUnit, float] = {"ms": 20, "samples": 160}
_UNIT_NAMES = {"ms": "milliseconds", "samples": "samples"}
WHOLE_FILES = "--columns start=,end="


class FileLengths:
    """The seconds and the rate in the headers of files, each read once."""

    def __init__(self) -> None:
        self._known: dict[Path, tuple[float, int] | None] = {}

    def find(self, path: Path) -> tuple[float, int] | None:
        """(seconds, rate in Hz); None for a file that cannot be read, which its reader reports."""
        if path not in self._known:
            try:
                self._known[path] = read_duration_and_rate(path)
            except AudioError:
                self._known[path] = None
        return self._known[path]

    def to_seconds(self, time: float, unit: TimeUnit, path: Path) -> float:
        """A time of a file in seconds."""
        if unit == "samples":
            length = self.find(path)
            return time / length[1] if length else 0.0
        return time * 1e-3 if unit == "ms" else time

    def in_seconds(self, clip: Clip, unit: TimeUnit) -> tuple[float, float] | None:
        """Start and end, in seconds, of a clip with times in ``unit``; None for a whole file."""
        if clip.span is None:
            return None
        start, end = (self.to_seconds(time, unit, clip.path) for time in clip.span)
        return start, end

    def is_inside(self, clip: Clip, unit: TimeUnit) -> bool | None:
        """Whether a clip lies in its file, or at least begins there as the last of its windows.

        None if the file cannot be read.
        """
        length, span = self.find(clip.path), self.in_seconds(clip, unit)
        if length is None or span is None:
            return None
        start, end = span
        if end <= length[0] + ROUNDING_SECONDS:
            return True
        return start < length[0] and end - start < length[0]


def parse_time(text: str) -> float:
    """A number of seconds (or another unit), also with a decimal comma, or ``1:02:03.5``.

    Raises:
        ValueError: it is neither.
    """
    number = text.replace(",", ".") if text.count(",") == 1 and "." not in text else text
    clock = _CLOCK.match(number)
    if clock is None:
        return float(number)
    hours, minutes, seconds = clock.groups()
    return 3600 * int(hours or 0) + 60 * int(minutes) + float(seconds)


def find_window(spans: Iterable[tuple[float, float]]) -> float | None:
    """The seconds of more than half of the clips: windows of one length."""
    lengths = [round((end - start) / _SAME_SECONDS) for start, end in spans]
    if not lengths:
        return None
    [(usual, count)] = Counter(lengths).most_common(1)
    return usual * _SAME_SECONDS if 2 * count > len(lengths) else None


def is_window(span: tuple[float, float] | None, window_seconds: float) -> bool:
    """Whether a clip has the length of the table's windows."""
    return span is not None and abs(span[1] - span[0] - window_seconds) <= 2 * _SAME_SECONDS


def find_unit(unit: TimeUnit, clips: Sequence[Clip], lengths: FileLengths) -> tuple[TimeUnit, str]:
    """The unit of times, and a note if the numbers say that it is not seconds.

    ``unit`` is what the names of the columns say, if anything.

    Raises:
        LabelsError: most times lie beyond their files in every unit.
    """
    some = clips[:: max(1, len(clips) // _PROBES)]
    share = _share_inside(some, unit or "s", lengths)
    if share is None or len(clips) < _MIN_ROWS or share >= 0.5:
        return unit or "s", ""
    for other in () if unit else _units_of_numbers(clips):
        if (_share_inside(_last_of_files(clips), other, lengths) or 0) > 0.9:
            return other, (
                f"times are read as {_UNIT_NAMES[other]}: as seconds, most of them are beyond "
                f"their files; {WHOLE_FILES} takes whole files"
            )
    raise LabelsError(_beyond_message(clips, unit or "s", lengths))


def _units_of_numbers(clips: Sequence[Clip]) -> Sequence[TimeUnit]:
    """The units that whole numbers may have: most clips of sounds last 20 ms or more."""
    spans = [clip.span for clip in clips if clip.span is not None]
    whole = all(time.is_integer() for span in spans for time in span)
    usual = median(end - start for start, end in spans)
    return [unit for unit, least in _LEAST.items() if whole and usual >= least]


def _last_of_files(clips: Sequence[Clip]) -> Sequence[Clip]:
    """The last clip of each of some files, which are spread over the table."""
    last: dict[Path, Clip] = {}
    for clip in clips:
        last[clip.path] = max(last.get(clip.path, clip), clip, key=lambda c: c.end_seconds or 0.0)
    return list(last.values())[:: max(1, len(last) // _PROBES)]


def _share_inside(clips: Sequence[Clip], unit: TimeUnit, lengths: FileLengths) -> float | None:
    """The share of clips that lie in their files; None if no file can be read."""
    inside = [known for clip in clips if (known := lengths.is_inside(clip, unit)) is not None]
    return sum(inside) / len(inside) if inside else None


def _beyond_message(clips: Sequence[Clip], unit: TimeUnit, lengths: FileLengths) -> str:
    beyond = [clip for clip in clips if lengths.is_inside(clip, unit) is False]
    first = beyond[0]
    _, end = lengths.in_seconds(first, unit) or (0.0, 0.0)
    length = lengths.find(first.path)
    return (
        f"{len(beyond)} of {len(clips)} rows end beyond their file (the first: line {first.line} "
        f"ends at {end:g} s, {first.path.name} at {length[0] if length else 0:.3g} s): start and "
        "end are likely times of another recording, from which these files were cut; "
        f"{WHOLE_FILES} takes the whole files"
    )
