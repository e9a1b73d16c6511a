"""Rows of a CSV file."""

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from earful.data.errors import EarfulError, did_you_mean_path
from earful.data.labels.wrong_path import describe_wrong_path

if TYPE_CHECKING:
    import _csv


class LabelsError(EarfulError):
    """The CSV itself cannot be used; bad rows are ``RowProblem`` instead."""


def no_rows_message(csv_path: Path) -> str:
    return f"{csv_path} has a header and no rows; add a row per clip"


def empty_message(csv_path: Path) -> str:
    return f"{csv_path} is empty; its first line must name the columns, such as filename,label"


def read_rows(csv_path: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The header cells, and (line number, cells) of every row that is not blank.

    Raises:
        LabelsError: the file is missing, or is not a CSV in UTF-8.
    """
    text = _read_text(csv_path)
    # CSV line ends only: str.splitlines would also split at a form feed or U+2028.
    lines = io.StringIO(text, newline="")
    reader = csv.reader(lines, delimiter=find_delimiter(text), strict=True)
    try:
        rows = list(with_line_numbers(reader))
    except csv.Error as error:
        raise LabelsError(f"{csv_path}, line {reader.line_num}: {error}; fix the quotes") from error
    if not rows:
        raise LabelsError(empty_message(csv_path))
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


def find_delimiter(text: str) -> str:
    """Comma, semicolon or tab: the most frequent in the header line."""
    header = next((line for line in text.splitlines() if line.strip()), "")
    return max(",;\t", key=header.count)


def with_line_numbers(reader: "_csv.Reader") -> Iterator[tuple[int, list[str]]]:
    start = 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield start, cells
        start = reader.line_num + 1  # a quoted cell may span lines; report the first
