"""Rows of a CSV or TSV as programs and people write them, each with its line.

Comma, semicolon, tab or vertical bar between the cells. Passed over: a first line ``sep=;``, lines
that begin with ``#``, blank lines, blanks around cells, empty cells after the last column. In
tab-separated files a quotation mark is a character like others, unless it encloses a cell.
"""

import contextlib
import csv
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TextIO

from earful.data.labels.other_text import describe_other_text
from earful.data.labels.text_file import LabelsError, find_encoding
from earful.data.text.formula_cells import unmark_formula

DELIMITERS = ",;\t|"
# How many of the names in a header are known ones: it finds the delimiter and the header.
CountKnown = Callable[[Sequence[str]], int]
_SEP_LINE = re.compile(r'^"?sep=(.)"?\s*$', re.IGNORECASE)
# A quoted cell with blanks around its quotation marks, which the csv module takes for an error.
_BLANKS_AROUND_QUOTES = r'(^|{0})[ ]*("(?:[^"]|"")*")[ ]+(?={0}|\r?\n?$)'
_MAX_LINE_CHARACTERS = 1 << 20


@dataclass(frozen=True)
class TableRow:
    """A row: the line on which it begins, its cells, and why it is suspicious, if it is."""

    line: int
    cells: list[str]
    problem: str = ""


@dataclass
class OpenTable:
    """An open table: its column names, its rows in order, and notes on how it is read.

    Notes may grow while rows are read.
    """

    path: Path
    header: list[str]
    delimiter: str
    rows: Iterator[TableRow]
    notes: list[str] = field(default_factory=list)


@contextlib.contextmanager
def open_table(path: Path, count_known: CountKnown) -> Iterator[OpenTable]:
    """Open a table, whose rows are read one by one, in constant memory.

    Raises:
        LabelsError: no file, no text, no header, or a quotation mark that is never closed.
    """
    encoding, note = find_encoding(path)
    try:
        with path.open(encoding=encoding, newline="") as file:
            table = _read_header(path, file, count_known)
            table.notes += [note] if note else []
            yield table
    except csv.Error as error:
        raise LabelsError(f"{path}: {error}; save it as CSV UTF-8") from error
    except UnicodeError as error:
        raise LabelsError(f"{path} is not text in {encoding.upper()}: {error}") from error
    except OSError as error:
        raise LabelsError(f"cannot read {path}: {error.strerror}") from error


def no_rows_message(path: Path) -> str:
    """The message for a table that has a header alone."""
    return f"{path} has a header and no rows; add a row per clip"


def _read_header(path: Path, file: TextIO, count_known: CountKnown) -> OpenTable:
    """Pass over what comes before the header, and find the delimiter by it."""
    lines = _bounded(path, file)
    first, delimiter, comments, text = 1, "", [], ""
    for number, line in enumerate(lines, 1):
        first, text = number, line.strip("\r\n").lstrip("\ufeff")
        separator = _SEP_LINE.match(text) if number == 1 else None
        if separator:
            delimiter = separator[1]
        elif text.startswith("#"):
            comments.append(text)
        elif text.strip():
            break
        text = ""
    commented = _header_in_comment(text, comments, count_known)
    if not commented and not text:
        raise LabelsError(
            f"{path} is empty; its first line must name the columns, such as filename,label"
        )
    rest = chain([text] if text else [], lines) if commented else lines
    names = commented or text
    other_text = describe_other_text(names)
    if other_text:
        raise LabelsError(f"{path} {other_text}")
    delimiter = delimiter or find_delimiter(names, count_known)
    header = next(_split_rows(iter([names]), path, delimiter, first)).cells
    table = OpenTable(path, [name.strip() for name in header], delimiter, iter(()))
    table.rows = _read_rows(table, rest, first if commented else first + 1)
    passed_over = len(comments) - bool(commented)
    if passed_over:
        table.notes.append(f"{passed_over} lines that begin with # are passed over")
    return table


def _bounded(path: Path, lines: Iterator[str]) -> Iterator[str]:
    """Lines, none longer than a table has; a binary file may be one line without an end."""
    for line in lines:
        if len(line) > _MAX_LINE_CHARACTERS:
            raise LabelsError(f"{path} has a line of {len(line)} characters and is not a CSV")
        yield line


def _header_in_comment(text: str, comments: Sequence[str], count_known: CountKnown) -> str:
    """The last comment, if it names columns and the line after it does not; else empty."""
    names = comments[-1].lstrip("# ") if comments else ""
    known, known_in_text = (
        count_known(_names(line, find_delimiter(line, count_known))) for line in (names, text)
    )
    return names if known > known_in_text else ""


def find_delimiter(header: str, count_known: CountKnown) -> str:
    """The delimiter by which the header has the most known names, then the most columns."""
    return max(DELIMITERS, key=lambda d: (count_known(_names(header, d)), header.count(d)))


def _names(line: str, delimiter: str) -> list[str]:
    return [cell.strip().strip('"') for cell in line.split(delimiter)]


def _read_rows(table: OpenTable, lines: Iterator[str], first: int) -> Iterator[TableRow]:
    """The rows that are not blank and no comments, without empty cells after the last column."""
    width = len(table.header)
    comments = 0
    for row in _split_rows(lines, table.path, table.delimiter, first, width):
        cells = row.cells
        while len(cells) > width and not cells[-1].strip():
            cells.pop()
        if not any(cell.strip() for cell in cells):
            continue
        if cells[0].startswith("#") and len(cells) != width:
            comments += 1
            continue
        yield row
    if comments:
        table.notes.append(f"{comments} lines between the rows begin with # and are passed over")


def _split_rows(
    lines: Iterator[str], path: Path, delimiter: str, first: int, width: int = 0
) -> Iterator[TableRow]:
    """Every row; ``first`` is the line of the first one, ``width`` the number of columns."""
    if delimiter == "\t":
        return _split_by_tab(lines, first, width)
    return _split_quoted(lines, path, delimiter, first, width)


def _split_by_tab(lines: Iterator[str], first: int, width: int) -> Iterator[TableRow]:
    for number, line in enumerate(lines, first):
        text = line.strip("\r\n")
        cells = text.split("\t")
        if width and len(cells) != width and '"' in text:  # a tab in a quoted cell
            with contextlib.suppress(csv.Error):
                quoted = next(csv.reader([text], delimiter="\t", strict=True))
                cells = quoted if len(quoted) == width else cells
        yield TableRow(number, [unmark_formula(_unquote(cell)) for cell in cells])


def _unquote(cell: str) -> str:
    """A cell without the quotation marks that enclose it; others are characters of it."""
    text = cell.strip()
    inner = text[1:-1]
    enclosed = len(text) > 1 and text[0] == text[-1] == '"' and '"' not in inner.replace('""', "")
    return inner.replace('""', '"') if enclosed else cell


def _split_quoted(
    lines: Iterator[str], path: Path, delimiter: str, first: int, width: int
) -> Iterator[TableRow]:
    blanks = re.compile(_BLANKS_AROUND_QUOTES.format(re.escape(delimiter)))
    cleaned = (blanks.sub(r"\1\2", line) if '" ' in line else line for line in lines)
    # Of the whole process: never lowered, as others may read longer cells meanwhile.
    csv.field_size_limit(max(csv.field_size_limit(), _MAX_LINE_CHARACTERS))
    reader = csv.reader(cleaned, delimiter=delimiter, strict=True, skipinitialspace=True)
    read = 0
    while True:
        try:
            cells = next(reader, None)
        except csv.Error as error:
            raise LabelsError(
                f"{path}, line {first + read}: {error}; a quotation mark opens a cell there and "
                'does not close it: fix the quotes (a mark inside a cell is written "")'
            ) from error
        if cells is None:
            return
        n_lines = reader.line_num - read
        suspicious = n_lines > 1 and width and _has_swallowed_rows(cells, delimiter, width)
        cells = [unmark_formula(cell) for cell in cells]
        yield TableRow(first + read, cells, _swallowed_message(n_lines) if suspicious else "")
        read = reader.line_num


def _has_swallowed_rows(cells: Sequence[str], delimiter: str, width: int) -> bool:
    """Whether the lines in a cell look like rows: a quotation mark was left open."""
    inner = [part for cell in cells for part in re.split(r"\r\n|\r|\n", cell)[1:]]
    return len(cells) != width or any(part.count(delimiter) == width - 1 for part in inner)


def _swallowed_message(n_lines: int) -> str:
    return (
        f"a quotation mark opens a cell here that goes on for {n_lines} lines, with rows in it; "
        'fix the quotes (a mark inside a cell is written "")'
    )
