"""Annotations: clips that another tool or a table labels, with their annotator and time."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from earful.data.errors import EarfulError
from earful.data.labels.clip import MAX_REPORTED_PROBLEMS, SPLITS, Clip, ClipProblem
from earful.data.labels.multilabel import MAX_LABEL_CHARACTERS, find_label_problem, normalise_label
from earful.data.text.printable import printable_line

# Times are rounded to the microsecond, as Audacity and Raven write them.
TIME_DIGITS = 6
_MIN_SECONDS = 10**-TIME_DIGITS


class AnnotationError(EarfulError):
    """An annotation file, or labels in it, that cannot be used."""


@dataclass(frozen=True)
class SupersededLabel:
    """A label replaced by, or equal to, another label of the same audio, and the reason."""

    location: str
    label: str
    kept_location: str
    kept_label: str
    reason: str

    @property
    def is_duplicate(self) -> bool:
        return self.label == self.kept_label

    def __str__(self) -> str:
        if self.is_duplicate:
            return f"{self.location}: {self.label!r}, same as {self.kept_location}"
        kept = f"{self.kept_label!r} of {self.kept_location}"
        return f"{self.location}: {self.label!r} is superseded by {kept} ({self.reason})"


@dataclass
class AnnotationSet:
    """The content of one or more sources.

    annotations  usable labels, in order
    problems     unusable labels: an error unless bad labels are skipped
    skipped      items without a label: cancelled, not yet labelled, not an audio file
    superseded   labels replaced by another label of the same audio
    duplicates   labels equal to another label of the same audio
    notes        further notes for the user
    """

    annotations: list[Clip] = field(default_factory=list)
    problems: list[ClipProblem] = field(default_factory=list)
    skipped: list[ClipProblem] = field(default_factory=list)
    superseded: list[SupersededLabel] = field(default_factory=list)
    duplicates: list[SupersededLabel] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, annotation: Clip) -> None:
        """Add a valid annotation to ``annotations``, else its problem to ``problems``."""
        checked = validate_annotation(annotation)
        if isinstance(checked, ClipProblem):
            self.problems.append(checked)
        else:
            self.annotations.append(checked)

    def refuse(self, location: str, code: str, message: str) -> None:
        """Add an item that is not a usable label."""
        self.problems.append(ClipProblem(0, location, code, message))

    def skip(self, location: str, code: str, message: str) -> None:
        """Add an item without a label."""
        self.skipped.append(ClipProblem(0, location, code, message))

    def skip_other_files(self, paths: Iterable[Path]) -> None:
        """Add files that are no recordings."""
        for path in paths:
            self.skip(str(path), "not_audio", "not an audio file by its suffix")

    def extend(self, other: "AnnotationSet") -> None:
        self.annotations += other.annotations
        self.problems += other.problems
        self.skipped += other.skipped
        self.superseded += other.superseded
        self.duplicates += other.duplicates
        self.notes += other.notes


def validate_annotation(annotation: Clip) -> Clip | ClipProblem:
    """The annotation with trimmed texts and times rounded to the microsecond, or its problem."""
    label, speaker = annotation.label.strip(), annotation.speaker.strip()
    split, fold = annotation.split.strip().lower(), annotation.fold.strip()
    if (name_problem := _find_name_problem(annotation.path)) is not None:
        return annotation.problem("bad_name", name_problem)
    if not label:
        return annotation.problem("no_label", "the label is empty")
    if (problem := find_label_problem(label)) is not None:
        return annotation.problem("bad_label", f"{problem}: {label[:40]!r}")
    for name, text in (("speaker", speaker), ("fold", fold)):
        if len(text) > MAX_LABEL_CHARACTERS or not text.isprintable():
            reason = f"a {name} is printable and at most {MAX_LABEL_CHARACTERS} characters long"
            return annotation.problem(f"bad_{name}", f"{reason}: {text[:40]!r}")
    if split and split not in SPLITS:
        reason = f"a split is one of {', '.join(SPLITS)}, found {split[:40]!r}"
        return annotation.problem("bad_split", reason)
    label = normalise_label(label)
    return _with_times(replace(annotation, label=label, speaker=speaker, split=split, fold=fold))


def _find_name_problem(path: Path) -> str | None:
    """Why a labels CSV cannot contain this file name; None if it can."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "the name is not UTF-8; rename the file"
    if path.name != path.name.strip():
        return "the name begins or ends with a space, which a CSV loses; rename the file"
    return None


def _with_times(annotation: Clip) -> Clip | ClipProblem:
    start, end = annotation.start_seconds, annotation.end_seconds
    if start is None and end is None:
        return annotation
    if start is None or end is None or not (math.isfinite(start) and math.isfinite(end)):
        return annotation.problem(
            "bad_times",
            f"start and end must both be numbers: {start} to {end}",
        )
    if start < 0 or end - start < _MIN_SECONDS:
        reason = f"a segment starts at 0 or later and ends after its start: {start:g} to {end:g} s"
        return annotation.problem("bad_times", reason)
    times = round(start, TIME_DIGITS), round(end, TIME_DIGITS)
    return replace(annotation, start_seconds=times[0], end_seconds=times[1])


def parse_seconds(value: Any) -> float:
    """Seconds from a number or text, with a decimal point or comma; NaN if invalid."""
    if isinstance(value, str):
        value = value.strip()
        value = value.replace(",", ".") if "." not in value else value
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def format_seconds(seconds: float | None) -> str:
    """Seconds as text without trailing zeros; empty for None."""
    if seconds is None:
        return ""
    return f"{seconds:.{TIME_DIGITS}f}".rstrip("0").rstrip(".")


def absolute_path(path: Path) -> Path:
    """The absolute path with symbolic links resolved in its folders, not in its name."""
    return path.parent.resolve() / path.name


def format_list(items: Sequence[object], max_items: int = MAX_REPORTED_PROBLEMS) -> str:
    """One line per item, at most ``max_items``, and the number of further items."""
    lines = [printable_line(str(item)) for item in items[:max_items]]
    if len(items) > max_items:
        lines.append(f"... and {len(items) - max_items} more")
    return "\n".join(lines)
