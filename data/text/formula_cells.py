"""Cells of CSV files that a spreadsheet would run as formulas are marked with an apostrophe.

A file named ``=HYPERLINK("http://...")`` sends what is in the sheet to its author when it is opened
and clicked (OWASP, "CSV Injection"). Spreadsheets show a marked cell as text. Readers of this
package remove the mark.
"""

import csv
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

# What begins a formula, also in the full width of East Asian keyboards, and what is skipped there.
# An apostrophe before one is marked too, so that unmark_formula gives back every text.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n＝＋－＠]")
# Text that begins so and is no formula: a minus sign alone, or a number.
_HARMLESS = re.compile(r"-|[+-](\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def mark_formula(text: str) -> str:
    """The text of a cell, with an apostrophe before it if a spreadsheet would run it."""
    if not _FORMULA.match(text) or _HARMLESS.fullmatch(text):
        return text
    return f"'{text}"


def mark_formulas(cells: Iterable[str]) -> list[str]:
    """``mark_formula`` of each cell of a row."""
    return [mark_formula(cell) for cell in cells]


def write_csv(
    path: Path,
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    mark: bool = False,
    line_end: str = "\r\n",
) -> None:
    """Write a CSV file with a header, UTF-8; ``mark`` marks formulas in what is text.

    A carriage return in a cell is quoted only where it is part of ``line_end``.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator=line_end)
        writer.writerow(columns)
        for row in rows:
            writer.writerow([mark_formula(c) if mark and isinstance(c, str) else c for c in row])


def unmark_formula(text: str) -> str:
    """The text that ``mark_formula`` was given."""
    if text[:1] != "'" or not _FORMULA.match(text) or _HARMLESS.fullmatch(text[1:]):
        return text
    return text[1:]
