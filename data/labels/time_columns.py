"""The columns of times: where a clip begins and ends, and in which unit."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from earful.data.labels.header import find_named
from earful.data.labels.text_file import LabelsError

# Empty: the names do not say it; seconds, unless the numbers say otherwise.
TimeUnit = Literal["", "s", "ms", "samples"]
_PAIRS = (
    ("start", "end"), ("begin", "end"), ("onset", "offset"), ("start", "stop"), ("begin", "stop"),
    ("tmin", "tmax"), ("xmin", "xmax"), ("min_t", "max_t"), ("t0", "t1"), ("from", "to"),
    ("startzeit", "endzeit"), ("beginn", "ende"), ("début", "fin"), ("inicio", "fin"),
)  # fmt: skip
# Of NeMo's manifests the offset is the start.
_STARTS_WITH_DURATION = ("start", "begin", "onset", "offset")
_DURATIONS = ("duration", "dur", "length", "segment_duration")
_UNITS: tuple[tuple[str, TimeUnit], ...] = (
    ("", ""), ("_s", "s"), ("_sec", "s"), ("_secs", "s"), ("_second", "s"), ("_seconds", "s"),
    ("_(s)", "s"), ("_[s]", "s"), ("_(sec)", "s"), ("_(seconds)", "s"),
    ("_ms", "ms"), ("_msec", "ms"), ("_millis", "ms"), ("_milliseconds", "ms"), ("_(ms)", "ms"),
    ("_[ms]", "ms"),
    ("_sample", "samples"), ("_samples", "samples"),
)  # fmt: skip


@dataclass(frozen=True)
class TimeColumns:
    """Positions of the start and of the end or the duration, and their units by their names.

    ``duration`` is the position of a duration where there is no column of ends.
    """

    start: int
    end: int | None
    duration: int | None
    start_unit: TimeUnit
    last_unit: TimeUnit

    def items(self) -> Iterator[tuple[str, int]]:
        """Role and position of each column that is read."""
        yield "start", self.start
        if self.end is not None:
            yield "end", self.end
        if self.duration is not None:
            yield "duration", self.duration

    @property
    def unit(self) -> TimeUnit:
        """The unit of rows, in which milliseconds are seconds already."""
        units = {self.start_unit, self.last_unit}
        if "samples" in units:
            return "samples"
        return "" if units == {""} else "s"

    def units(self) -> tuple[TimeUnit, TimeUnit]:
        """The units of the start, and of the end or the duration."""
        return self.start_unit, self.last_unit


def _spellings(stem: str) -> Iterator[tuple[str, TimeUnit]]:
    """Names of a time and their units: ``start``, ``start_time``, ``time_start``, ``start_ms``."""
    for form in (stem, f"{stem}_time", f"{stem}time", f"time_{stem}", f"t_{stem}"):
        for suffix, unit in _UNITS:
            yield form + suffix, unit


_STEMS = tuple(dict.fromkeys(stem for pair in _PAIRS for stem in pair))
_TIME_NAMES = {name: unit for stem in _STEMS for name, unit in _spellings(stem)}
_DURATION_NAMES = {stem + suffix: unit for stem in _DURATIONS for suffix, unit in _UNITS}

# Of names such as `clip_start` or `start_frame`, which are named where they are not read.
_TIME_WORDS = frozenset({"start", "end", "stop", "begin", "onset", "offset"})


def is_time_name(name: str) -> bool:
    """Whether a normalised column name is that of a start or an end, or looks like one."""
    return name in _TIME_NAMES or not _TIME_WORDS.isdisjoint(name.split("_"))


def find_time_columns(
    header: Sequence[str], names: Sequence[str], path: Path, asked: Mapping[str, str]
) -> TimeColumns | None:
    """The columns of times by the user's names, else by usual ones; None if there are none.

    Raises:
        LabelsError: a column that the user named is not there, or start or end is alone.
    """
    if any(asked.get(role) == "" for role in ("start", "end")):
        return None
    if any(asked.get(role) for role in ("start", "end", "duration")):
        return _asked_columns(header, names, path, asked)
    found = _usual_pair(names) or _usual_duration(names)
    if found is None:
        _refuse_half(names, path)
    return found


def _asked_columns(
    header: Sequence[str], names: Sequence[str], path: Path, asked: Mapping[str, str]
) -> TimeColumns:
    usual = _usual_pair(names) or _usual_duration(names)
    found = dict(usual.items()) if usual else {}
    for role in ("start", "end", "duration"):
        if asked.get(role):
            found[role] = find_named(header, asked[role], path, role)
    if asked.get("duration") and not asked.get("end"):
        found.pop("end", None)
    if "start" not in found or ("end" not in found and "duration" not in found):
        raise LabelsError(
            f"{path}: a clip inside a file needs a start, and an end or a duration; give both, as "
            "in --columns start=NAME,end=NAME"
        )
    duration = None if "end" in found else found["duration"]
    end = found.get("end")
    last = end if end is not None else found["duration"]
    return TimeColumns(
        found["start"], end, duration, _unit(names, found["start"]), _unit(names, last)
    )


def _unit(names: Sequence[str], position: int) -> TimeUnit:
    name = names[position]
    return _TIME_NAMES.get(name, _DURATION_NAMES.get(name, ""))


def _usual_pair(names: Sequence[str]) -> TimeColumns | None:
    for first, last in _PAIRS:
        for (start, unit), (end, _) in zip(_spellings(first), _spellings(last), strict=True):
            if start in names and end in names:
                return TimeColumns(names.index(start), names.index(end), None, unit, unit)
    return None


def _usual_duration(names: Sequence[str]) -> TimeColumns | None:
    starts = [
        (name, unit)
        for stem in _STARTS_WITH_DURATION
        for name, unit in _spellings(stem)
        if name in names
    ]
    durations = [(name, unit) for name, unit in _DURATION_NAMES.items() if name in names]
    if not starts or not durations:
        return None
    (start, start_unit), (duration, duration_unit) = starts[0], durations[0]
    position = names.index(duration)
    return TimeColumns(names.index(start), None, position, start_unit, duration_unit)


def _refuse_half(names: Sequence[str], path: Path) -> None:
    if ("start" in names) != ("end" in names):
        raise LabelsError(
            f"{path} has only one of the columns start and end; give both or none, or leave it "
            "aside with --columns start=,end="
        )
