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
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from earful.data.errors import did_you_mean_path
from earful.data.labels.clip import Clip, ClipProblem, LabelledClips
from earful.data.labels.column_names import count_known
from earful.data.labels.columns import Columns, find_columns
from earful.data.labels.csv_options import PLAIN_CSV, REQUIRED_ROLES, CsvOptions, check_columns
from earful.data.labels.find_files import count_existing
from earful.data.labels.label_cells import (
    check_separator,
    find_empty_word_note,
    find_list_note,
    find_separator_note,
)
from earful.data.labels.label_rows import RowReader, read_split_words
from earful.data.labels.row_clips import (
    find_clips,
    find_row_unit,
    in_seconds,
    without_repeats,
)
from earful.data.labels.table_file import OpenTable, TableRow, no_rows_message, open_table
from earful.data.labels.text_file import LabelsError
from earful.data.labels.times import FileLengths

# Enough rows to choose columns by; the rest is read one by one.
_FIRST_ROWS = 200
T = TypeVar("T")


def stream_rows(csv_path: Path, options: CsvOptions = PLAIN_CSV) -> Iterator[Clip | ClipProblem]:
    """Read a CSV row by row, in constant memory; labels may be missing.

    Files are not looked for elsewhere, a last window may not overhang, and the first rows say the
    unit of all times.

    Raises:
        LabelsError: the file is missing, is no text, lacks the filename column, or has no rows.
    """
    _check_options(options)
    with open_table(csv_path, count_known) as table:
        first, rows = _peek(table.rows)
        columns = _find_columns(table, first, options, ("filename",))
        if not first:
            raise LabelsError(no_rows_message(csv_path))
        reader = _reader(table, columns, first, options, ("filename",))
        head, everything = _peek(reader.read(row) for row in rows)
        lengths = FileLengths()
        unit, _ = find_row_unit(head, columns, lengths)
        for row in everything:
            yield in_seconds(row, unit, lengths) if isinstance(row, Clip) else row


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
        if not table_rows:
            raise LabelsError(no_rows_message(csv_path))
        reader = _reader(table, columns, table_rows, options, REQUIRED_ROLES)
        read = [reader.read(row) for row in table_rows]
        cells = [columns.value("label", row.cells) for row in table_rows if not row.problem]
        notes = [*table.notes, *columns.notes, find_list_note(cells), find_empty_word_note(cells)]
    problems = [row for row in read if isinstance(row, ClipProblem)]
    good = [row for row in read if isinstance(row, Clip)]
    try:
        clips, file_notes = find_clips(good, columns, csv_path, options)
    except LabelsError as error:  # of times, which other columns may explain
        raise LabelsError("\n".join([str(error), *filter(None, notes)])) from error
    kept, repeated = without_repeats(clips)
    labels = [(row.line, row.label) for row in good]
    separator_note = "" if options.label_separator else find_separator_note(labels)
    return LabelledClips(
        tuple(kept),
        tuple(sorted([*problems, *repeated], key=lambda problem: problem.line)),
        frozenset(columns.names),
        tuple(note for note in (*notes, *file_notes, separator_note) if note),
        tuple(columns.names.items()),
        tuple(columns.unread),
    )


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


def _reader(
    table: OpenTable,
    columns: Columns,
    rows: Iterable[TableRow],
    options: CsvOptions,
    required: Sequence[str],
) -> RowReader:
    folder, splits = options.audio_dir or table.path.parent, read_split_words(rows, columns)
    width, separator = len(table.header), options.label_separator
    return RowReader(folder, columns, width, separator, splits, required)
