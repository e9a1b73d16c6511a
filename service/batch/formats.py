"""Writes rows as CSV, JSON Lines or Parquet, or per recording (``folder_writer``)."""

import csv
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from earful.data.text.formula_cells import mark_formulas
from earful.service.batch.errors import BatchError
from earful.service.batch.rows import COLUMNS, ResultRow
from earful.service.core.defaults import SCORE_DIGITS

FILE_SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
FOLDER_FORMATS = ("audacity", "raven")
FORMATS = (*FILE_SUFFIXES.values(), *FOLDER_FORMATS)
# In a folder of tracks or tables: all rows, including those of inputs that could not be read.
INDEX_FILENAME = "index.csv"
_PARQUET_ROWS = 10_000


class TextSink(Protocol):
    """A text file, or what writes like one."""

    def write(self, text: str, /) -> int: ...


class RowWriter(Protocol):
    """Writes rows one by one."""

    def write(self, row: ResultRow) -> None: ...


def output_format(out: Path | None, requested: str | None) -> str:
    """The format by name, else by the suffix of ``out``, else CSV (standard output).

    Raises:
        BatchError: the format is unknown, or cannot be written to standard output.
    """
    if requested is not None and requested not in FORMATS:
        raise BatchError(f"formats are {', '.join(FORMATS)}; found {requested!r}")
    if out is None:
        if requested not in (None, "csv", "jsonl"):
            raise BatchError(f"{requested} cannot be written to standard output; give --out")
        return requested or "csv"
    format_name = requested or FILE_SUFFIXES.get(out.suffix.lower())
    if format_name is None:
        raise BatchError(
            f"results are written as {' or '.join(FILE_SUFFIXES)}, or into a folder with --format "
            f"{' or '.join(FOLDER_FORMATS)}; found {str(out)!r}"
        )
    return format_name


@dataclass(frozen=True)
class RowLayout:
    """How rows are written.

    format_name    one of ``FORMATS``
    mark_formulas  whether cells of CSV that a spreadsheet would run get an apostrophe
    top_k          number of labels with scores in a row
    multi_label    whether ``label`` may hold several labels, so that label_1 is needed too
    expected       whether to write the last column ``expected``, the correct label
    common_folder  tracks and tables get the folder structure of the inputs below this folder
    max_hz         upper frequency of Raven selections: half the model's sample rate
    """

    format_name: str
    mark_formulas: bool = True
    top_k: int = 1
    multi_label: bool = False
    expected: bool = False
    common_folder: Path = Path()
    max_hz: float = 0.0


@contextmanager
def open_writer(target: Path, layout: RowLayout) -> Iterator[RowWriter]:
    """Open a writer to a file, or to a folder that it creates."""
    if layout.format_name == "parquet":
        writer = ParquetWriter(target, layout)
        try:
            yield writer
        finally:
            writer.close()
        return
    if layout.format_name in FOLDER_FORMATS:
        from earful.service.batch.folder_writer import FolderWriter

        target.mkdir()
        with (target / INDEX_FILENAME).open("w", encoding="utf-8", newline="") as index:
            yield FolderWriter(target, layout, CsvWriter(index, layout))
        return
    with target.open("w", encoding="utf-8", newline="") as file:
        yield text_writer(file, layout)


def text_writer(file: TextSink, layout: RowLayout) -> RowWriter:
    """A writer of CSV or JSON Lines to an open file."""
    return CsvWriter(file, layout) if layout.format_name == "csv" else JsonLinesWriter(file, layout)


class CsvWriter:
    """``COLUMNS``; with ``top_k`` above 1 also label_2, score_2 and so on.

    For a multi-label model they start with label_1, the best single label.
    """

    def __init__(self, file: TextSink, layout: RowLayout) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        # csv.writer does not quote a carriage return, but every reader ends a row at one.
        self._quoted_writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        self._expected, self._mark_formulas = layout.expected, layout.mark_formulas
        # Ranks, from 0, of the labels that get columns of their own.
        self._ranks = range(0 if layout.multi_label and layout.top_k > 1 else 1, layout.top_k)
        extra = [f"{name}_{k + 1}" for k in self._ranks for name in ("label", "score")]
        self._writer.writerow([*COLUMNS, *extra, *(["expected"] if layout.expected else [])])

    def write(self, row: ResultRow) -> None:
        times = ["" if t is None else f"{t:.3f}" for t in (row.start, row.end)]
        prediction = [row.label, "" if row.score is None else f"{row.score:.{SCORE_DIGITS}f}"]
        ranked = [
            cell
            for label, score in row.scores[self._ranks.start : self._ranks.stop]
            for cell in (label, f"{score:.{SCORE_DIGITS}f}")
        ]
        ranked += [""] * (2 * len(self._ranks) - len(ranked))
        cells = [row.filename, *times, *prediction, row.status, row.error, *ranked]
        if self._expected:
            cells.append(row.expected)
        has_carriage_return = any("\r" in text for text in (row.filename, row.error, row.expected))
        writer = self._quoted_writer if has_carriage_return else self._writer
        writer.writerow(mark_formulas(cells) if self._mark_formulas else cells)


class JsonLinesWriter:
    """One JSON object per line, keyed by column; ``top_k`` above 1 adds the list ``scores``."""

    def __init__(self, file: TextSink, layout: RowLayout) -> None:
        self._file = file
        self._top_k, self._expected = layout.top_k, layout.expected

    def write(self, row: ResultRow) -> None:
        values = _values(row)
        if self._top_k > 1:
            ranked = row.scores[: self._top_k]
            values["scores"] = [{"label": label, "score": score} for label, score in ranked]
        if self._expected:
            values["expected"] = row.expected or None
        self._file.write(json.dumps(values, ensure_ascii=False) + "\n")


class ParquetWriter:
    """``COLUMNS``, typed; ``top_k`` above 1 adds the list ``scores``."""

    def __init__(self, path: Path, layout: RowLayout) -> None:
        self._arrow = pyarrow = import_pyarrow()
        text, number = pyarrow.string(), pyarrow.float64()
        types = (text, number, number, text, number, text, text)
        fields = list(zip(COLUMNS, types, strict=True))
        if layout.top_k > 1:
            score = pyarrow.struct([("label", text), ("score", number)])
            fields.append(("scores", pyarrow.list_(score)))
        if layout.expected:
            fields.append(("expected", text))
        self._schema = pyarrow.schema(fields)
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)
        self._rows: list[dict[str, Any]] = []

    def write(self, row: ResultRow) -> None:
        scores = [{"label": label, "score": score} for label, score in row.scores]
        self._rows.append(_values(row) | {"scores": scores, "expected": row.expected or None})
        if len(self._rows) >= _PARQUET_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(self._arrow.Table.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()


def import_pyarrow() -> Any:
    """Import pyarrow with ``pyarrow.parquet``.

    Raises:
        BatchError: pyarrow is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise BatchError(
            "Parquet needs pyarrow; install it with: uv sync --inexact --extra parquet"
        ) from error
    return pyarrow


def _values(row: ResultRow) -> dict[str, Any]:
    return {
        "filename": row.filename,
        "start": row.start,
        "end": row.end,
        "label": row.label or None,
        "score": row.score,
        "status": row.status,
        "error": row.error or None,
    }
