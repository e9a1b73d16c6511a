"""Rows of a labels CSV, from cells to values by role; what is wrong with a row is a problem."""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from earful.data.labels.clip import SPLITS, Clip, ClipProblem
from earful.data.labels.columns import Columns
from earful.data.labels.label_cells import EMPTY_WORDS, read_label_cell
from earful.data.labels.multilabel import find_label_problem, normalise_label
from earful.data.labels.split_words import normalise_splits
from earful.data.labels.table_file import DELIMITERS, TableRow
from earful.data.labels.times import parse_time

_OPTIONAL_ROLES = ("speaker", "fold", "split")
# An address of any kind but that of a file of this machine.
_ADDRESS = re.compile(r"(?!file:)[a-z][a-z0-9+.-]+://", re.IGNORECASE)


@dataclass(frozen=True)
class RowReader:
    """Reads the rows of one table.

    folder           of relative file names
    columns          where the roles are
    width            the number of columns
    label_separator  between several labels of one cell, beside ``|``; empty: none
    splits           ``train``, ``val`` or ``test`` of each word in the split column
    required         roles without which a row is bad
    """

    folder: Path
    columns: Columns
    width: int
    label_separator: str
    splits: Mapping[str, str]
    required: Sequence[str]

    def read(self, row: TableRow) -> Clip | ClipProblem:
        """The clip of a row, or the first problem that it has.

        Its path is that of the name as it stands, its times are in the unit of their columns.
        """
        if row.problem or len(row.cells) != self.width:
            return _broken_row(row, self.columns, self.width)
        positions = self.columns.positions
        texts = {role: row.cells[position].strip() for role, position in positions.items()}
        texts |= {role: "" for role in _OPTIONAL_ROLES if texts.get(role) in EMPTY_WORDS}
        label = read_label_cell(texts.get("label", ""), self.label_separator)
        problem = self._check(row.line, texts, label)
        times = problem or _read_times(row, self.columns, texts["filename"])
        if isinstance(times, ClipProblem):
            return times
        return Clip(
            row.line,
            texts["filename"],
            self.folder / texts["filename"],
            normalise_label(label),
            texts.get("speaker", ""),
            self.splits.get(texts.get("split", ""), ""),
            *times,
            fold=_read_fold(texts.get("fold", "")),
            provenance=self.columns.provenance(row.cells),
        )

    def _check(self, line: int, texts: Mapping[str, str], label: str) -> ClipProblem | None:
        filename, split = texts["filename"], texts.get("split", "")
        for role in self.required:
            if not (label if role == "label" else texts[role]):
                return ClipProblem.of_row(line, filename, role, "", f"the {role} is empty")
        if "label" in self.required and "://" in filename and _ADDRESS.match(filename):
            reason = "is an address; download the file and name the copy"
            return ClipProblem.of_row(line, filename, "filename", filename, reason)
        if label and (problem := find_label_problem(label)) is not None:
            return ClipProblem.of_row(line, filename, "label", label[:40], problem)
        if split and split not in self.splits:
            reason = f"a split is one of {', '.join(SPLITS)}, or empty"
            return ClipProblem.of_row(line, filename, "split", split, reason)
        return None


def read_split_words(rows: Iterable[TableRow], columns: Columns) -> dict[str, str]:
    """``train``, ``val`` or ``test`` of each word in the split column of some rows."""
    position = columns.positions.get("split")
    if position is None:
        return {}
    words = {row.cells[position].strip() for row in rows if position < len(row.cells)}
    return normalise_splits(words)


def _broken_row(row: TableRow, columns: Columns, width: int) -> ClipProblem:
    cells, position = row.cells, columns.positions["filename"]
    filename = cells[position].strip().split("\n")[0] if position < len(cells) else ""
    if row.problem:
        longest = max(cells, key=lambda cell: cell.count("\n"))
        return ClipProblem.of_row(
            row.line, filename, _cell_name(longest, cells), longest[:40], row.problem
        )
    column = str(len(cells) if len(cells) > width else len(cells) + 1)
    count = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
    reason = f"the row has {count}, the header has {width}{_other_delimiter(cells, width)}"
    return ClipProblem.of_row(row.line, filename, column, cells[-1], reason)


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
) -> tuple[float | None, float | None] | ClipProblem:
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
            return ClipProblem.of_row(row.line, filename, role, text, reason)
        if not math.isfinite(times[-1]) or times[-1] < 0:
            reason = "a time is a finite number of seconds, 0 or more; whole files have none"
            return ClipProblem.of_row(row.line, filename, role, text, reason)
    start, last = times
    end = start + last if "duration" in texts else last
    if end <= start:
        role = "duration" if "duration" in texts else "end"
        reason = f"must be later than the start, {start:g}" if role == "end" else "must be above 0"
        return ClipProblem.of_row(row.line, filename, role, texts[role], reason)
    return start, end
