"""A labelled clip, from the row that names it to the data of a version, and what is wrong with one.

The same ``Clip`` is read from a labels CSV, a folder, another tool's export or feedback, written to
a dataset, compared in the plan of a retraining, and kept in ``data.csv``.
"""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from earful.data.audio.decode import END_TOLERANCE_SECONDS, AudioError
from earful.data.labels.multilabel import split_labels

SPLITS = ("train", "val", "test")
MAX_REPORTED_PROBLEMS = 50
PROVENANCE_COLUMNS = ("source", "annotator", "annotated_at", "annotation_id")
_CORRECTED_BY = ", corrected by "


@dataclass(frozen=True)
class Provenance:
    """The origin of a label; unknown fields are empty.

    source         format and file, such as ``label-studio:export.json``; in the data of a version
                   "dataset NAME" or "dataset NAME, corrected by feedback"
    annotator      name, e-mail address or number; of several, all
    annotated_at   ISO 8601
    annotation_id  the tool's own id
    """

    source: str = ""
    annotator: str = ""
    annotated_at: str = ""
    annotation_id: str = ""

    @property
    def timestamp(self) -> float:
        """``annotated_at`` in seconds since 1970, UTC by default; minus infinity if unknown."""
        try:
            annotated = datetime.fromisoformat(self.annotated_at)
        except ValueError:
            return -math.inf
        return (annotated if annotated.tzinfo else annotated.replace(tzinfo=UTC)).timestamp()

    @property
    def origin(self) -> str:
        """Where the file comes from, whoever corrected its label."""
        return self.source.partition(_CORRECTED_BY)[0]

    def corrected_by(self, source: str) -> "Provenance":
        """The origin of another label of the same file, which is still that of its own source."""
        own = self.origin
        return Provenance(source if own == source else f"{own}{_CORRECTED_BY}{source}")


@dataclass(frozen=True)
class ClipProblem:
    """A row or an item without a usable clip: where it is, a stable code and the reason.

    ``line`` and ``filename`` are those of ``Clip``. The code is ``bad_row`` for an error in the
    CSV, one of ``data.audio.decode``, or that of a reader of ``data.annotations``.
    """

    line: int
    filename: str
    code: str
    message: str

    @classmethod
    def of_row(
        cls, line: int, filename: str, column: str, value: str, reason: str
    ) -> "ClipProblem":
        """A bad row: the column and the value found there, and the reason."""
        return cls(line, filename, "bad_row", f"column {column}, value {value!r}: {reason}")

    @property
    def location(self) -> str:
        line = f"line {self.line}" if self.line else ""  # a folder has no lines
        return ", ".join(part for part in (line, self.filename) if part)

    def __str__(self) -> str:
        return f"{self.location}: {self.message} [{self.code}]"


@dataclass(frozen=True)
class Clip:
    """A labelled file, or a labelled segment of one.

    line, filename         its line in a CSV (else 0), and how its source names it: the text in the
                           CSV, or the place in an export, for messages
    path                   the file
    label                  may name several labels (``data.labels.multilabel``)
    speaker, split, fold   empty if unknown
    start_seconds          None for the whole file, as ``end_seconds``
    end_tolerance_seconds  how far the end may lie behind that of the file, which is then used up to
                           its end: a last window of a table of windows may be only partly inside
    sha256, audio_hash     of the file, and of the clip's audio (``data.audio.fingerprint``), equal
                           for copies of it; empty until they are measured
    provenance             who gave the label, and where
    ground_truth           a tool marks the label as reviewed
    may_overrule           whether the label may replace a curated one
    """

    line: int
    filename: str
    path: Path
    label: str
    speaker: str = ""
    split: str = ""
    start_seconds: float | None = None
    end_seconds: float | None = None
    fold: str = ""
    end_tolerance_seconds: float = END_TOLERANCE_SECONDS
    sha256: str = ""
    audio_hash: str = ""
    provenance: Provenance = field(default_factory=Provenance)
    ground_truth: bool = False
    may_overrule: bool = True

    @property
    def location(self) -> str:
        return f"line {self.line}, {self.filename}" if self.line else self.filename

    @property
    def span(self) -> tuple[float, float] | None:
        """Start and end; None for the whole file."""
        if self.start_seconds is None or self.end_seconds is None:
            return None
        return self.start_seconds, self.end_seconds

    @property
    def is_whole_recording(self) -> bool:
        return self.start_seconds is None

    def problem(self, code: str, message: str) -> ClipProblem:
        """What is wrong with this clip."""
        return ClipProblem(self.line, self.filename, code, message)

    def audio_problem(self, error: AudioError) -> ClipProblem:
        """What is wrong with the audio of this clip."""
        return self.problem(error.code, str(error))


@dataclass(frozen=True)
class LabelledClips:
    """The clips of a CSV or a folder, the problems of its bad rows, and what was read.

    ``columns`` are the columns that are filled: ``filename``, ``label``, ``speaker``, ``fold``,
    ``split``, ``start`` and ``end``. ``notes`` are sentences for the user: how the file was
    understood, and what was not read. ``column_names`` are the names in the CSV of the columns
    read, for the dataset's record, ``unread_columns`` those of the others.
    """

    clips: tuple[Clip, ...]
    problems: tuple[ClipProblem, ...]
    columns: frozenset[str]
    notes: tuple[str, ...] = ()
    column_names: tuple[tuple[str, str], ...] = ()
    unread_columns: tuple[str, ...] = ()

    @classmethod
    def of_clips(
        cls,
        clips: Sequence[Clip],
        problems: Sequence[ClipProblem] = (),
        notes: Sequence[str] = (),
    ) -> "LabelledClips":
        """The clips of a source without a header: its columns are those that some clip fills."""
        columns = {"filename", "label"}
        columns |= {
            name for name in ("speaker", "split", "fold") if any(getattr(c, name) for c in clips)
        }
        if any(not clip.is_whole_recording for clip in clips):
            columns |= {"start", "end"}
        return cls(tuple(clips), tuple(problems), frozenset(columns), tuple(notes))


def clips_by_label(clips: Iterable[Clip]) -> Counter[str]:
    """The number of clips of each label; one of several labels counts for each of them."""
    return Counter(label for clip in clips for label in split_labels(clip.label))
