"""A labelled clip, and what is wrong with a row of a labels CSV."""

from dataclasses import dataclass
from pathlib import Path

from earful.data.audio.decode import END_TOLERANCE_SECONDS, AudioError

SPLITS = ("train", "val", "test")
MAX_REPORTED_PROBLEMS = 50


@dataclass(frozen=True)
class RowProblem:
    """A bad row: its line, file name, the column, the value found, and the reason."""

    line: int
    filename: str
    column: str
    value: str
    reason: str

    def __str__(self) -> str:
        return f"line {self.line}, column {self.column}, value {self.value!r}: {self.reason}"


@dataclass(frozen=True)
class Clip:
    """A labelled file, or a labelled segment of one.

    ``line`` is its line in the CSV, ``filename`` the text in the CSV, ``path`` the resolved file.
    ``label`` may name several labels (``data.labels.multilabel``). ``speaker``, ``split`` and
    ``fold`` are empty if unknown; ``start_seconds`` and ``end_seconds`` are None for the whole
    file. ``end_tolerance_seconds`` is how far the end may lie behind that of the file, which is
    then used up to its end: a last window of a table of windows may be only partly inside.
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

    @property
    def location(self) -> str:
        return f"line {self.line}, {self.filename}" if self.line else self.filename


@dataclass(frozen=True)
class ClipProblem:
    """A row without a usable clip: its line, file name, a stable code and the reason.

    The code is ``bad_row`` for an error in the CSV, else one of ``data.audio.decode``.
    """

    line: int
    filename: str
    code: str
    message: str

    @classmethod
    def from_row_problem(cls, problem: RowProblem) -> "ClipProblem":
        message = f"column {problem.column}, value {problem.value!r}: {problem.reason}"
        return cls(problem.line, problem.filename, "bad_row", message)

    @classmethod
    def from_audio_error(cls, clip: Clip, error: AudioError) -> "ClipProblem":
        return cls(clip.line, clip.filename, error.code, str(error))

    def __str__(self) -> str:
        line = f"line {self.line}" if self.line else ""  # a folder has no lines
        location = ", ".join(part for part in (line, self.filename) if part)
        return f"{location}: {self.message} [{self.code}]"


@dataclass(frozen=True)
class LabelledClips:
    """The clips of a CSV or a folder, the problems of its bad rows, and what was read.

    ``columns`` are the columns that are filled: ``filename``, ``label``, ``speaker``, ``fold``,
    ``split``, ``start`` and ``end``. ``notes`` are sentences for the user: how the file was
    understood, and what was not read. ``column_names`` are the names in the CSV of the columns
    read, for the dataset's record.
    """

    clips: tuple[Clip, ...]
    problems: tuple[RowProblem, ...]
    columns: frozenset[str]
    notes: tuple[str, ...] = ()
    column_names: tuple[tuple[str, str], ...] = ()
