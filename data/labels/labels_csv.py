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
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from earful.data.errors import did_you_mean, did_you_mean_path
from earful.data.labels.clip import SPLITS, Clip, LabelledClips, RowProblem
from earful.data.labels.columns import COLUMN_NAMES
from earful.data.labels.csv_options import PLAIN_CSV, CsvOptions
from earful.data.labels.multilabel import find_label_problem, normalise_label
from earful.data.labels.table_file import (
    LabelsError,
    empty_message,
    find_delimiter,
    no_rows_message,
    read_rows,
    with_line_numbers,
)

REQUIRED_COLUMNS = ("filename", "label")


def stream_rows(csv_path: Path, options: CsvOptions = PLAIN_CSV) -> Iterator[Clip | RowProblem]:
    """Read a CSV row by row, in constant memory; labels may be missing.

    Raises:
        LabelsError: the file is missing, is not UTF-8 text, lacks the filename column, or has no
            rows.
    """
    audio_dir = options.audio_dir
    try:
        with csv_path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = find_delimiter(file.readline(1 << 16))
            file.seek(0)
            rows = with_line_numbers(csv.reader(file, delimiter=delimiter, strict=True))
            _, header = next(rows, (0, []))
            if not header:
                raise LabelsError(empty_message(csv_path))
            columns = _match_columns(header, csv_path, options, required=("filename",))
            line = 0
            for line, cells in rows:
                yield _read_row(
                    line, cells, len(header), columns, audio_dir or csv_path.parent, ("filename",)
                )
            if not line:
                raise LabelsError(no_rows_message(csv_path))
    except (UnicodeDecodeError, csv.Error) as error:
        raise LabelsError(
            f"{csv_path} is not a CSV in UTF-8: {error}; save it as CSV UTF-8"
        ) from error
    except OSError as error:
        raise LabelsError(f"cannot read {csv_path}: {error.strerror}") from error


def read_labels(csv_path: Path, options: CsvOptions = PLAIN_CSV) -> LabelledClips:
    """Read and check a labels CSV; audio files are not opened.

    Raises:
        LabelsError: the file is missing, is not UTF-8 text, lacks a required column or has no rows,
            or ``audio_dir`` is not a folder. Bad rows do not raise: they are in ``problems``.
    """
    audio_dir = options.audio_dir
    if audio_dir is not None and not audio_dir.is_dir():
        raise LabelsError(
            f"{audio_dir} is not a folder{did_you_mean_path(audio_dir)}; give the folder of the "
            "audio files as --audio-dir"
        )
    header, rows = read_rows(csv_path)
    columns = _match_columns(header, csv_path, options)
    if options.label_separator and "label" in columns:
        rows = [(line, _split_label(cells, columns["label"], options)) for line, cells in rows]
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
        raise LabelsError(no_rows_message(csv_path))
    notes = tuple(_misnamed_columns(header))
    return LabelledClips(tuple(clips), tuple(problems), frozenset(columns), notes)


def _split_label(cells: list[str], position: int, options: CsvOptions) -> list[str]:
    """The cells with the labels of one cell joined by ``|``."""
    if position >= len(cells):
        return cells
    labels = (part.strip() for part in cells[position].split(options.label_separator))
    return [*cells[:position], "|".join(filter(None, labels)), *cells[position + 1 :]]


def _match_columns(
    header: list[str],
    csv_path: Path,
    options: CsvOptions,
    required: Sequence[str] = REQUIRED_COLUMNS,
) -> dict[str, int]:
    """Map each known column present to its position in the file."""
    names = [name.strip().lower() for name in header]
    columns: dict[str, int] = {}
    for column, name in options.columns.items():
        if name and name.lower() not in names:
            raise LabelsError(
                f"{csv_path} has no column {name!r} for the {column}; it has {', '.join(header)}"
            )
        if name:
            columns[column] = names.index(name.lower())
    for column, accepted in COLUMN_NAMES.items():
        if column in options.columns:
            continue
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
        fold=values.get("fold", ""),
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
