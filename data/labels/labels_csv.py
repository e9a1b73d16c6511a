"""The labels CSV: one row per clip, read strictly, all bad rows reported at once.

Comma, semicolon or tab; UTF-8 with or without a byte order mark. Columns, in any order and case:

    filename   also file, path, file_name      absolute, or relative to the CSV or the audio folder
    label      also digit, class, class_label  a string; ``a7`` and ``7`` are different labels;
                                               ``dog|rain`` are two labels of one clip
    speaker    also group, speaker_id          optional
    split      train, val or test              optional
    start end  seconds inside a longer file    optional, both together

Other columns are ignored.
"""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from earful.data.audio.decode import AudioError
from earful.data.errors import EarfulError, did_you_mean, did_you_mean_path
from earful.data.labels.multilabel import find_label_problem, normalise_label
from earful.data.labels.wrong_path import describe_wrong_path

if TYPE_CHECKING:
    import _csv

COLUMN_NAMES = {
    "filename": ("filename", "file", "path", "file_name"),
    "label": ("label", "digit", "class", "class_label"),
    "speaker": ("speaker", "group", "speaker_id"),
    "split": ("split",),
    "start": ("start",),
    "end": ("end",),
}
REQUIRED_COLUMNS = ("filename", "label")
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
    def from_audio_error(cls, clip: "Clip", error: AudioError) -> "ClipProblem":
        return cls(clip.line, clip.filename, error.code, str(error))

    def __str__(self) -> str:
        line = f"line {self.line}" if self.line else ""  # a folder has no lines
        location = ", ".join(part for part in (line, self.filename) if part)
        return f"{location}: {self.message} [{self.code}]"


class LabelsError(EarfulError):
    """The CSV itself cannot be used; bad rows are ``RowProblem`` instead."""


@dataclass(frozen=True)
class Clip:
    """A labelled file, or a labelled segment of one.

    ``line`` is its line in the CSV, ``filename`` the text in the CSV, ``path`` the resolved file.
    ``label`` may name several labels (``data.labels.multilabel``). ``speaker`` and ``split`` are
    empty if unknown; ``start_seconds`` and ``end_seconds`` are None for the whole file.
    """

    line: int
    filename: str
    path: Path
    label: str
    speaker: str = ""
    split: str = ""
    start_seconds: float | None = None
    end_seconds: float | None = None

    @property
    def location(self) -> str:
        return f"line {self.line}, {self.filename}"


@dataclass(frozen=True)
class LabelledClips:
    """A CSV's good rows, the problems of its bad rows, the columns it has, and notes on others."""

    clips: tuple[Clip, ...]
    problems: tuple[RowProblem, ...]
    columns: frozenset[str]
    notes: tuple[str, ...] = ()


def stream_rows(csv_path: Path, audio_dir: Path | None = None) -> Iterator[Clip | RowProblem]:
    """Read a CSV row by row, in constant memory; labels may be missing.

    Raises:
        LabelsError: the file is missing, is not UTF-8 text, lacks the filename column, or has no
            rows.
    """
    try:
        with csv_path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = _delimiter(file.readline(1 << 16))
            file.seek(0)
            rows = _with_line_numbers(csv.reader(file, delimiter=delimiter, strict=True))
            _, header = next(rows, (0, []))
            if not header:
                raise LabelsError(_empty_message(csv_path))
            columns = _match_columns(header, csv_path, required=("filename",))
            line = 0
            for line, cells in rows:
                yield _read_row(
                    line, cells, len(header), columns, audio_dir or csv_path.parent, ("filename",)
                )
            if not line:
                raise LabelsError(_no_rows_message(csv_path))
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelsError(
            f"{csv_path} is not a CSV in UTF-8: {error}; save it as CSV UTF-8"
        ) from error
    except OSError as error:
        raise LabelsError(f"cannot read {csv_path}: {error.strerror}") from error


def read_labels(csv_path: Path, audio_dir: Path | None = None) -> LabelledClips:
    """Read and check a labels CSV; audio files are not opened.

    Raises:
        LabelsError: the file is missing, is not UTF-8 text, lacks a required column or has no rows,
            or ``audio_dir`` is not a folder. Bad rows do not raise: they are in ``problems``.
    """
    if audio_dir is not None and not audio_dir.is_dir():
        raise LabelsError(
            f"{audio_dir} is not a folder{did_you_mean_path(audio_dir)}; give the folder of the "
            "audio files as --audio-dir"
        )
    header, rows = read_rows(csv_path)
    columns = _match_columns(header, csv_path)
    clips: list[Clip] = []
    problems: list[RowProblem] = []
    first_line: dict[tuple[Path, float | None, float | None], int] = {}
    for line, cells in rows:
        clip = _read_row(line, cells, len(header), columns, audio_dir or csv_path.parent)
        if isinstance(clip, RowProblem):
            problems.append(clip)
            continue
        key = (clip.path, clip.start_seconds, clip.end_seconds)
        if key in first_line:
            reason = f"repeats line {first_line[key]}; keep one row per clip"
            problems.append(RowProblem(line, clip.filename, "filename", clip.filename, reason))
            continue
        first_line[key] = line
        clips.append(clip)
    if not clips and not problems:
        raise LabelsError(_no_rows_message(csv_path))
    notes = tuple(_misnamed_columns(header))
    return LabelledClips(tuple(clips), tuple(problems), frozenset(columns), notes)


def _no_rows_message(csv_path: Path) -> str:
    return f"{csv_path} has a header and no rows; add a row per clip"


def _empty_message(csv_path: Path) -> str:
    return f"{csv_path} is empty; its first line must name the columns, such as filename,label"


def read_rows(csv_path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header cells, and (line number, cells) of every row that is not blank.

    Raises:
        LabelsError: the file is missing, or is not a CSV in UTF-8.
    """
    text = _read_text(csv_path)
    # CSV line ends only: str.splitlines would also split at a form feed or U+2028.
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=_delimiter(text), strict=True)
    try:
        rows = list(_with_line_numbers(reader))
    except csv.Error as error:
        raise LabelsError(f"{csv_path}, line {reader.line_num}: {error}; fix the quotes") from error
    if not rows:
        raise LabelsError(_empty_message(csv_path))
    (_, header), *body = rows
    return header, body


def _read_text(csv_path: Path) -> str:
    found_instead = describe_wrong_path(csv_path)
    if found_instead:
        raise LabelsError(found_instead)
    try:
        text = csv_path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelsError(
            f"{csv_path} is not UTF-8 text (byte {error.start}); save it as CSV UTF-8"
        ) from error
    except OSError as error:
        hint = did_you_mean_path(csv_path)
        raise LabelsError(f"cannot read {csv_path}: {error.strerror}{hint}") from error
    if "\0" in text:
        raise LabelsError(f"{csv_path} contains NUL bytes and is not a CSV; save it as CSV UTF-8")
    return text


def _delimiter(text: str) -> str:
    """Comma, semicolon or tab: the most frequent in the header line."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(",;\t", key=header.count)


def _with_line_numbers(reader: "_csv.Reader") -> Iterator[tuple[int, list[str]]]:
    start = 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield start, cells
        start = reader.line_num + 1  # a quoted cell may span lines; report the first


def _match_columns(
    header: list[str], csv_path: Path, required: Sequence[str] = REQUIRED_COLUMNS
) -> dict[str, int]:
    """Map each known column present to its position in the file."""
    names = [name.strip().lower() for name in header]
    columns: dict[str, int] = {}
    for column, accepted in COLUMN_NAMES.items():
        matches = [name for name in accepted if name in names]
        positions = [i for i, name in enumerate(names) if name in accepted]
        if len(positions) > 1 and len(set(matches)) == 1:
            raise LabelsError(f"{csv_path} has the column {matches[0]!r} twice; keep one")
        if matches:
            columns[column] = names.index(matches[0])
    for column in required:
        if column not in columns:
            raise LabelsError(
                f"{csv_path} has the columns {', '.join(repr(h) for h in header)}; "
                f"one of {', '.join(COLUMN_NAMES[column])} is needed for the {column}"
                + "".join(f"; {note}" for note in _misnamed_columns(header))
            )
    if ("start" in columns) != ("end" in columns):
        raise LabelsError(
            f"{csv_path} has only one of the columns start and end; give both or none"
        )
    return columns


def _misnamed_columns(header: Sequence[str]) -> Iterator[str]:
    """A note for each column whose name is nearly one that is read."""
    known = [name for accepted in COLUMN_NAMES.values() for name in accepted]
    for name in header:
        hint = "" if name.strip().lower() in known else did_you_mean(name.strip(), known)
        if hint:
            yield f"the column {name.strip()!r} is not read{hint}"


def _read_row(
    line: int,
    cells: list[str],
    width: int,
    columns: dict[str, int],
    folder: Path,
    required: Sequence[str] = REQUIRED_COLUMNS,
) -> Clip | RowProblem:
    if len(cells) != width:
        column = f"{len(cells)}" if len(cells) > width else f"{len(cells) + 1}"
        reason = f"the row has {len(cells)} cells, the header has {width}"
        position = columns["filename"]
        filename = cells[position].strip() if position < len(cells) else ""
        return RowProblem(line, filename, column, cells[-1], reason)
    values = {column: cells[position].strip() for column, position in columns.items()}
    problem = _check_values(line, values, required)
    if problem is not None:
        return problem
    clip = Clip(
        line=line,
        filename=values["filename"],
        path=folder / values["filename"],
        label=normalise_label(values.get("label", "")),
        speaker=values.get("speaker", ""),
        split=values.get("split", "").lower(),
    )
    return _with_times(clip, values)


def _check_values(line: int, values: dict[str, str], required: Sequence[str]) -> RowProblem | None:
    filename = values["filename"]
    for column in required:
        if not values[column]:
            return RowProblem(line, filename, column, "", f"the {column} is empty")
    label = values.get("label", "")
    if label and (problem := find_label_problem(label)) is not None:
        return RowProblem(line, filename, "label", label[:40], problem)
    split = values.get("split", "")
    if split and split.lower() not in SPLITS:
        reason = f"a split is one of {', '.join(SPLITS)}, or empty"
        return RowProblem(line, filename, "split", split, reason)
    return None


def _with_times(clip: Clip, values: dict[str, str]) -> Clip | RowProblem:
    texts = (values.get("start", ""), values.get("end", ""))
    if texts == ("", ""):
        return clip
    times: list[float] = []
    for column, text in zip(("start", "end"), texts, strict=True):
        try:
            seconds = float(text)
        except ValueError:
            reason = "a time is a number of seconds, such as 1.25"
            return RowProblem(clip.line, clip.filename, column, text, reason)
        if not math.isfinite(seconds) or seconds < 0:
            reason = "a time is a finite number of seconds, 0 or more"
            return RowProblem(clip.line, clip.filename, column, text, reason)
        times.append(seconds)
    start, end = times
    if end <= start:
        reason = f"must be later than the start, {start:g} s"
        return RowProblem(clip.line, clip.filename, "end", texts[1], reason)
    return replace(clip, start_seconds=start, end_seconds=end)
