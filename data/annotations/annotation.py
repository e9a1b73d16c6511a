"""What a tool's file says: a label of a recording or a stretch of it, by whom and when."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from earful.data.errors import EarfulError
from earful.data.labels.labels_csv import MAX_REPORTED_PROBLEMS, SPLITS
from earful.data.labels.multilabel import MAX_LABEL_CHARACTERS, normalised, problem_of

# Times are kept to the microsecond, as Audacity and Raven write them.
TIME_DIGITS = 6
_LEAST_SECONDS = 10**-TIME_DIGITS
_MAX_PROVENANCE_CHARACTERS = 500


class AnnotationError(EarfulError):
    """A tool's file that cannot be used, or holds what cannot."""


@dataclass(frozen=True)
class Provenance:
    """Where a label is from; empty what is not known.

    source         format and file, ``label-studio:export.json`` say
    annotator      name, address or number
    annotated_at   ISO 8601
    annotation_id  as the tool counts them
    """

    source: str = ""
    annotator: str = ""
    annotated_at: str = ""
    annotation_id: str = ""

    @property
    def moment(self) -> float:
        """When, in seconds since 1970 (UTC where no zone is named); minus infinity if unknown."""
        try:
            found = datetime.fromisoformat(self.annotated_at)
        except ValueError:
            return -math.inf
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


@dataclass(frozen=True)
class Annotation:
    """A label, or several joined, of the recording at ``path``; times are None for all of it.

    ``where`` tells a person where it stands. ``ground_truth`` is what some tools mark as beyond
    doubt.
    """

    where: str
    path: Path
    label: str
    start_seconds: float | None = None
    end_seconds: float | None = None
    speaker: str = ""
    split: str = ""
    provenance: Provenance = field(default_factory=Provenance)
    ground_truth: bool = False

    @property
    def whole(self) -> bool:
        return self.start_seconds is None


@dataclass(frozen=True)
class Problem:
    """Something that did not become a row: where it stands, a stable code and the reason."""

    where: str
    code: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message} [{self.code}]"


@dataclass(frozen=True)
class Lost:
    """A label that gave way, or a repetition of the one that stayed, and why."""

    where: str
    label: str
    kept_where: str
    kept_label: str
    why: str

    @property
    def same(self) -> bool:
        return self.label == self.kept_label

    def __str__(self) -> str:
        if self.same:
            return f"{self.where}: {self.label!r}, as {self.kept_where} says too"
        kept = f"{self.kept_label!r} of {self.kept_where}"
        return f"{self.where}: {self.label!r} gives way to {kept} ({self.why})"


@dataclass
class Found:
    """What a source holds.

    annotations  good ones, in its order
    problems     what cannot be used: nothing is written unless such things are to be left out
    skipped      what holds no label in the first place: cancelled, not labelled yet, no audio file
    lost         labels that gave way to others of the same sound
    repeated     labels that only said what another one says
    notes        what a person should know besides
    """

    annotations: list[Annotation] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    skipped: list[Problem] = field(default_factory=list)
    lost: list[Lost] = field(default_factory=list)
    repeated: list[Lost] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, annotation: Annotation) -> None:
        """Take an annotation, or note why it is none."""
        checked = check(annotation)
        if isinstance(checked, Problem):
            self.problems.append(checked)
        else:
            self.annotations.append(checked)

    def extend(self, other: "Found") -> None:
        self.annotations += other.annotations
        self.problems += other.problems
        self.skipped += other.skipped
        self.lost += other.lost
        self.repeated += other.repeated
        self.notes += other.notes


def check(annotation: Annotation) -> Annotation | Problem:
    """The annotation with its texts trimmed and its times to the microsecond, or what is wrong."""
    label, speaker = annotation.label.strip(), annotation.speaker.strip()
    split = annotation.split.strip().lower()
    if (name := _bad_name(annotation.path)) is not None:
        return Problem(annotation.where, "bad_name", name)
    if not label:
        return Problem(annotation.where, "no_label", "the label is empty")
    if (problem := problem_of(label)) is not None:
        return Problem(annotation.where, "bad_label", f"{problem}: {label[:40]!r}")
    if len(speaker) > MAX_LABEL_CHARACTERS or not speaker.isprintable():
        reason = f"a speaker is printable and at most {MAX_LABEL_CHARACTERS} characters long"
        return Problem(annotation.where, "bad_speaker", f"{reason}: {speaker[:40]!r}")
    if split and split not in SPLITS:
        reason = f"a split is one of {', '.join(SPLITS)}, found {split[:40]!r}"
        return Problem(annotation.where, "bad_split", reason)
    trimmed = replace(annotation, label=normalised(label), speaker=speaker, split=split)
    return _with_times(trimmed)


def _bad_name(path: Path) -> str | None:
    """Why a labels CSV cannot name a file."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return "the name is not UTF-8; rename the file"
    if path.name != path.name.strip():
        return "the name begins or ends with a space, which a CSV loses; rename the file"
    return None


def _with_times(annotation: Annotation) -> Annotation | Problem:
    start, end = annotation.start_seconds, annotation.end_seconds
    if start is None and end is None:
        return annotation
    if start is None or end is None or not (math.isfinite(start) and math.isfinite(end)):
        return Problem(annotation.where, "bad_times", f"no stretch of time: {start} to {end}")
    if start < 0 or end - start < _LEAST_SECONDS:
        reason = f"a stretch has a length and begins at 0 or later: {start:g} to {end:g} s"
        return Problem(annotation.where, "bad_times", reason)
    times = round(start, TIME_DIGITS), round(end, TIME_DIGITS)
    return replace(annotation, start_seconds=times[0], end_seconds=times[1])


def seconds_of(value: Any) -> float:
    """A time as a number or text, a comma for the point too; NaN where it is none."""
    if isinstance(value, str):
        value = value.strip()
        value = value.replace(",", ".") if "." not in value else value
    elif isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def shown_seconds(seconds: float | None) -> str:
    """A time as text, without zeros at its end; empty for None."""
    if seconds is None:
        return ""
    return f"{seconds:.{TIME_DIGITS}f}".rstrip("0").rstrip(".")


def absolute(path: Path) -> Path:
    """A path by which a file is known: absolute, the links of its folders followed."""
    return path.parent.resolve() / path.name


def _one_printable_line(text: str) -> str:
    """Names of files are from outside: no line ends, and nothing that steers a terminal."""
    return "".join(c if c.isprintable() else "?" for c in text)


def plain(value: Any) -> str:
    """Any value of a foreign file as one printable line; empty for what is no text or number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    try:
        text = str(value).strip()
    except ValueError:  # an integer of thousands of digits
        return ""
    return _one_printable_line(text[:_MAX_PROVENANCE_CHARACTERS])


def listed(items: Sequence[object], most: int = MAX_REPORTED_PROBLEMS) -> str:
    """A line for each of at most so many, and how many more there are."""
    lines = [_one_printable_line(str(item)) for item in items[:most]]
    if len(items) > most:
        lines.append(f"... and {len(items) - most} more")
    return "\n".join(lines)
