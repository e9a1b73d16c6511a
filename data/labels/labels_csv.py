"""The labels CSV: one row per clip; all bad rows are reported at once.

Comma, semicolon or tab; UTF-8, UTF-16 or Windows-1252. Columns, in any order and case:

    filename   also file, path, file_name      absolute, or relative to the CSV or the audio folder
    label      also digit, class, class_label  a string; ``a7`` and ``7`` are different labels;
                                               ``dog|rain`` are two labels of one clip
    speaker    also group, speaker_id          optional
    fold       of cross-validation             optional
    split      train, val or test              optional
    start end  seconds inside a longer file    optional, both together

Names of the field's datasets are understood too (``columns``), and ``CsvOptions.columns`` names
others. What is read under another name, and what looks like one of these and is not read, is in the
notes.
"""

import itertools
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from earful.data.audio.decode import END_TOLERANCE_SECONDS
from earful.data.errors import did_you_mean_path
from earful.data.labels.clip import SPLITS, Clip, LabelledClips, RowProblem
from earful.data.labels.column_names import count_known
from earful.data.labels.columns import Columns, find_columns
from earful.data.labels.csv_options import PLAIN_CSV, REQUIRED_ROLES, CsvOptions, check_columns
from earful.data.labels.find_files import count_existing, find_files
from earful.data.labels.label_cells import (
    EMPTY_WORDS,
    check_separator,
    find_empty_word_note,
    find_list_note,
    find_separator_note,
    read_label_cell,
)
from earful.data.labels.multilabel import (
    find_label_problem,
    join_labels,
    normalise_label,
    split_labels,
)
from earful.data.labels.split_words import normalise_splits
from earful.data.labels.table_file import (
    DELIMITERS,
    OpenTable,
    TableRow,
    no_rows_message,
    open_table,
)
from earful.data.labels.text_file import LabelsError
from earful.data.labels.time_columns import TimeUnit
from earful.data.labels.times import (
    FileLengths,
    Span,
    find_unit,
    find_window,
    is_window,
    parse_time,
)

# Enough rows to choose columns by; the rest is read one by one.
_FIRST_ROWS = 200
_WINDOWS_PER_FILE = 1.2
_OPTIONAL_ROLES = ("speaker", "fold", "split")
T = TypeVar("T")
# Start and end; None for a whole file.
Seconds = tuple[float | None, float | None]
# An address of any kind but that of a file of this machine.
_ADDRESS = re.compile(r"(?!file:)[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@dataclass(frozen=True)
class _Row:
    """A row by roles, before its file is looked for; times in the unit of their columns."""

    line: int
    filename: str
    label: str
    speaker: str
    fold: str
    split: str
    start: float | None
    end: float | None


def stream_rows(csv_path: Path, options: CsvOptions = PLAIN_CSV) -> Iterator[Clip | RowProblem]:
    """Read a CSV row by row, in constant memory; labels may be missing.

    Files are not looked for elsewhere, and times are seconds unless their columns say otherwise.

    Raises:
        LabelsError: the file is missing, is no text, lacks the filename column, or has no rows.
    """
    _check_options(options)
    folder = options.audio_dir or csv_path.parent
    with open_table(csv_path, count_known) as table:
        first, rows = _peek(table.rows)
        columns = _find_columns(table, first, options, ("filename",))
        splits = _split_words(first, columns)
        if not first:
            raise LabelsError(no_rows_message(csv_path))
        read = (_read_row(row, table, columns, options, splits, ("filename",)) for row in rows)
        head, everything = _peek(read)
        lengths = FileLengths()
        unit, _ = _find_unit(head, columns, lambda row: folder / row.filename, lengths)
        for row in everything:
            if isinstance(row, _Row):
                path = folder / row.filename
                yield _to_clip(row, path, _seconds(row, path, unit, lengths))
            else:
                yield row


def read_labels(csv_path: Path, options: CsvOptions = PLAIN_CSV) -> LabelledClips:
    """Read and check a labels CSV; of audio files at most the headers of some are read.

    Raises:
        LabelsError: the file is missing, is no text, lacks a required column or has no rows, its
            times belong to other recordings, or ``audio_dir`` is not a folder. Bad rows do not
            raise: they are in ``problems``.
        UsageError: the options name no columns or no separator.
    """
    _check_options(options)
    _check_audio_dir(options.audio_dir)
    with open_table(csv_path, count_known) as table:
        first, rows = _peek(table.rows)
        columns = _find_columns(table, first, options, REQUIRED_ROLES)
        table_rows = list(rows)
        splits = _split_words(table_rows, columns)
        read = [
            _read_row(row, table, columns, options, splits, REQUIRED_ROLES) for row in table_rows
        ]
        if not read:
            raise LabelsError(no_rows_message(csv_path))
        cells = [columns.value("label", row.cells) for row in table_rows if not row.problem]
        notes = [*table.notes, *columns.notes, find_list_note(cells), find_empty_word_note(cells)]
    problems = [row for row in read if isinstance(row, RowProblem)]
    good = [row for row in read if isinstance(row, _Row)]
    try:
        clips, file_notes = _find_clips(good, columns, csv_path, options)
    except LabelsError as error:  # of times, which other columns may explain
        raise LabelsError("\n".join([str(error), *filter(None, notes)])) from error
    kept, repeated = _without_repeats(clips)
    separator_note = "" if options.label_separator else _separator_note(good)
    return LabelledClips(
        tuple(kept),
        tuple(sorted([*problems, *repeated], key=lambda problem: problem.line)),
        frozenset(columns.names),
        tuple(note for note in (*notes, *file_notes, separator_note) if note),
        tuple(columns.names.items()),
    )


def read_rows(csv_path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The names in the header, and (line, cells) of every row, for columns of other meanings.

    Raises:
        LabelsError: as ``read_labels``.
    """
    with open_table(csv_path, count_known) as table:
        return table.header, [(row.line, row.cells) for row in table.rows]


def _check_options(options: CsvOptions) -> None:
    check_columns(options.columns)
    check_separator(options.label_separator)


def _check_audio_dir(audio_dir: Path | None) -> None:
    if audio_dir is not None and not audio_dir.is_dir():
        raise LabelsError(
            f"{audio_dir} is not a folder{did_you_mean_path(audio_dir)}; give the folder of the "
            "audio files as --audio-dir"
        )


def _peek(rows: Iterator[T]) -> tuple[list[T], Iterator[T]]:
    """The first rows, and all of them."""
    first = list(itertools.islice(rows, _FIRST_ROWS))
    return first, itertools.chain(first, rows)


def _find_columns(
    table: OpenTable, first: Sequence[TableRow], options: CsvOptions, required: Sequence[str]
) -> Columns:
    folder = options.audio_dir or table.path.parent
    return find_columns(
        table.header,
        [row.cells for row in first],
        table.path,
        options.columns,
        lambda names: count_existing(names, folder),
        required,
    )


def _split_words(rows: Iterable[TableRow], columns: Columns) -> dict[str, str]:
    position = columns.positions.get("split")
    if position is None:
        return {}
    words = {row.cells[position].strip() for row in rows if position < len(row.cells)}
    return normalise_splits(words)


def _read_row(
    row: TableRow,
    table: OpenTable,
    columns: Columns,
    options: CsvOptions,
    splits: dict[str, str],
    required: Sequence[str],
) -> _Row | RowProblem:
    if row.problem or len(row.cells) != len(table.header):
        return _broken_row(row, columns, len(table.header))
    texts = {role: row.cells[position].strip() for role, position in columns.positions.items()}
    texts |= {role: "" for role in _OPTIONAL_ROLES if texts.get(role) in EMPTY_WORDS}
    label = read_label_cell(texts.get("label", ""), options.label_separator)
    problem = _check_texts(row.line, texts, label, splits, required)
    times = problem or _read_times(row, columns, texts["filename"])
    if isinstance(times, RowProblem):
        return times
    return _Row(
        line=row.line,
        filename=texts["filename"],
        label=normalise_label(label),
        speaker=texts.get("speaker", ""),
        fold=_read_fold(texts.get("fold", "")),
        split=splits.get(texts.get("split", ""), ""),
        start=times[0],
        end=times[1],
    )


def _check_texts(
    line: int,
    texts: Mapping[str, str],
    label: str,
    splits: Mapping[str, str],
    required: Sequence[str],
) -> RowProblem | None:
    filename, split = texts["filename"], texts.get("split", "")
    for role in required:
        if not (label if role == "label" else texts[role]):
            return RowProblem(line, filename, role, "", f"the {role} is empty")
    if "label" in required and "://" in filename and _ADDRESS.match(filename):
        reason = "is an address; download the file and name the copy"
        return RowProblem(line, filename, "filename", filename, reason)
    if label and (problem := find_label_problem(label)) is not None:
        return RowProblem(line, filename, "label", label[:40], problem)
    if split and split not in splits:
        reason = f"a split is one of {', '.join(SPLITS)}, or empty"
        return RowProblem(line, filename, "split", split, reason)
    return None


def _broken_row(row: TableRow, columns: Columns, width: int) -> RowProblem:
    cells, position = row.cells, columns.positions["filename"]
    filename = cells[position].strip().split("\n")[0] if position < len(cells) else ""
    if row.problem:
        longest = max(cells, key=lambda cell: cell.count("\n"))
        return RowProblem(row.line, filename, _cell_name(longest, cells), longest[:40], row.problem)
    column = str(len(cells) if len(cells) > width else len(cells) + 1)
    count = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
    reason = f"the row has {count}, the header has {width}{_other_delimiter(cells, width)}"
    return RowProblem(row.line, filename, column, cells[-1], reason)


def _other_delimiter(cells: Sequence[str], width: int) -> str:
    """A hint at a mark that would split a row of one cell as the header is split; else empty."""
    found = [mark for mark in DELIMITERS if len(cells) == 1 < width == cells[0].count(mark) + 1]
    return f"; separate its cells as in the header, not by {found[0]!r}" if found else ""


def _cell_name(cell: str, cells: Sequence[str]) -> str:
    return str(list(cells).index(cell) + 1)


def _read_fold(text: str) -> str:
    """A fold's name; of numbers that a program wrote as 1.0, the whole number."""
    return text.removesuffix(".0") if text.removesuffix(".0").isdecimal() else text


def _read_times(
    row: TableRow, columns: Columns, filename: str
) -> tuple[float | None, float | None] | RowProblem:
    if columns.times is None:
        return None, None
    texts = {role: row.cells[position].strip() for role, position in columns.times.items()}
    if all(not text or text in EMPTY_WORDS for text in texts.values()):
        return None, None
    times: list[float] = []
    for (role, text), unit in zip(texts.items(), columns.times.units(), strict=True):
        reason = "a time is a number of seconds, such as 1.25"
        try:
            times.append(parse_time(text) * (1e-3 if unit == "ms" else 1))
        except ValueError:
            return RowProblem(row.line, filename, role, text, reason)
        if not math.isfinite(times[-1]) or times[-1] < 0:
            reason = "a time is a finite number of seconds, 0 or more; whole files have none"
            return RowProblem(row.line, filename, role, text, reason)
    start, last = times
    end = start + last if "duration" in texts else last
    if end <= start:
        role = "duration" if "duration" in texts else "end"
        reason = f"must be later than the start, {start:g}" if role == "end" else "must be above 0"
        return RowProblem(row.line, filename, role, texts[role], reason)
    return start, end


def _find_unit(
    rows: Iterable[_Row | RowProblem],
    columns: Columns,
    path_of: Callable[[_Row], Path],
    lengths: FileLengths,
) -> tuple[TimeUnit, str]:
    """The unit of the times of rows, and a note if their numbers say it."""
    if columns.times is None:
        return "s", ""
    spans = [
        Span(row.line, path_of(row), row.start, row.end)
        for row in rows
        if isinstance(row, _Row) and row.start is not None and row.end is not None
    ]
    return find_unit(columns.times.unit, spans, lengths)


def _seconds(row: _Row, path: Path, unit: TimeUnit, lengths: FileLengths) -> Seconds:
    if row.start is None or row.end is None:
        return None, None
    return lengths.to_seconds(row.start, unit, path), lengths.to_seconds(row.end, unit, path)


def _to_clip(row: _Row, path: Path, times: Seconds, window: float | None = None) -> Clip:
    """The clip of a row; one as long as ``window`` may overhang by that much."""
    start, end = times
    overhang = window if window and is_window(start, end, window) else END_TOLERANCE_SECONDS
    return Clip(
        line=row.line,
        filename=row.filename,
        path=path,
        label=row.label,
        speaker=row.speaker,
        split=row.split,
        fold=row.fold,
        start_seconds=start,
        end_seconds=end,
        end_tolerance_seconds=overhang,
    )


def _find_clips(
    rows: Sequence[_Row], columns: Columns, csv_path: Path, options: CsvOptions
) -> tuple[list[Clip], list[str]]:
    """The clip of each row, with its file and with times in seconds; and notes on both."""
    folder, given = options.audio_dir or csv_path.parent, options.audio_dir is not None
    found = find_files([row.filename for row in rows], folder, search_beside=not given)
    lengths = FileLengths()
    unit, note = _find_unit(rows, columns, lambda row: found.paths[row.filename], lengths)
    paths = [found.paths[row.filename] for row in rows]
    times = [_seconds(row, path, unit, lengths) for row, path in zip(rows, paths, strict=True)]
    window = _overhanging_window(times, len(found.paths))
    clips = [_to_clip(*parts, window) for parts in zip(rows, paths, times, strict=True)]
    return clips, [*found.notes, note]


def _overhanging_window(times: Sequence[Seconds], n_files: int) -> float | None:
    """The length of windows of one length, of which the last may reach beyond the end of its file.

    Only where files have several: one clip of each file is a cut-out, with times of its source.
    """
    timed = [(start, end) for start, end in times if start is not None and end is not None]
    return find_window(timed) if len(timed) >= _WINDOWS_PER_FILE * n_files else None


def _without_repeats(clips: Iterable[Clip]) -> tuple[list[Clip], list[RowProblem]]:
    """The clips whose file and times are new, and a problem for each row that repeats one."""
    first: dict[tuple[str, float | None, float | None], Clip] = {}
    kept: list[Clip] = []
    repeated: list[RowProblem] = []
    for clip in clips:
        key = (str(clip.path), clip.start_seconds, clip.end_seconds)
        earlier = first.setdefault(key, clip)
        if earlier is clip:
            kept.append(clip)
            continue
        reason = _describe_repeat(clip, earlier)
        repeated.append(RowProblem(clip.line, clip.filename, "filename", clip.filename, reason))
    return kept, repeated


def _describe_repeat(clip: Clip, earlier: Clip) -> str:
    if clip.label == earlier.label:
        return f"repeats line {earlier.line}; keep one row per clip"
    both = join_labels([*split_labels(earlier.label), *split_labels(clip.label)])
    return (
        f"repeats line {earlier.line} with another label; keep one row per clip, for both labels "
        f"with {both!r}"
    )


def _separator_note(rows: Sequence[_Row]) -> str:
    return find_separator_note([(row.line, row.label) for row in rows])
