"""Rows to files: CSV, JSON Lines, Parquet, Audacity label tracks and Raven selection tables.

Audacity: UTF-8 lines of start, end and label between tabs, seconds, no header (its manual,
"Importing and Exporting Labels"). Raven: tab-separated selections with a header; ``File Offset
(s)`` is the time inside ``Begin Path`` (Raven Pro manual, "Selection tables").
"""

import csv
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any, Protocol, TextIO

from service.batch.errors import BatchError
from service.batch.rows import COLUMNS, SCORE_DIGITS, Row

FILE_SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".parquet": "parquet"}
FOLDER_FORMATS = ("audacity", "raven")
FORMATS = (*FILE_SUFFIXES.values(), *FOLDER_FORMATS)
# In a folder of tracks or tables: a row for every input, also for those that could not be read.
INDEX = "index.csv"
_PARQUET_ROWS = 10_000
# Bytes of a name that every common file system takes.
_LONGEST_NAME = 255


class RowWriter(Protocol):
    """Writes rows one after the other."""

    def write(self, row: Row) -> None: ...


def output_format(out: Path | None, given: str | None) -> str:
    """The format that is asked for, by name or by suffix; CSV on standard output.

    Raises:
        BatchError: none that is known.
    """
    if given is not None and given not in FORMATS:
        raise BatchError(f"formats are {', '.join(FORMATS)}; found {given!r}")
    if out is None:
        if given not in (None, "csv", "jsonl"):
            raise BatchError(f"{given} is written to a place of its own; give it as --out")
        return given or "csv"
    found = given or FILE_SUFFIXES.get(out.suffix.lower())
    if found is None:
        raise BatchError(
            f"results are written as {' or '.join(FILE_SUFFIXES)}, or into a folder with --format "
            f"{' or '.join(FOLDER_FORMATS)}; found {str(out)!r}"
        )
    return found


@dataclass(frozen=True)
class Layout:
    """How rows are written.

    form    one of ``FORMATS``
    top_k   how many labels a row names
    truth   whether there is a last column, ``expected``: the label that the input's list gives
    base    the folder that tracks and tables are laid out as, below their own
    max_hz  the upper edge of what a model hears, for selections
    """

    form: str
    top_k: int = 1
    truth: bool = False
    base: Path = Path()
    max_hz: float = 0.0


@contextmanager
def open_writer(place: Path, layout: Layout) -> Iterator[RowWriter]:
    """A writer to a file, or into a folder that is made."""
    if layout.form == "parquet":
        writer = ParquetWriter(place, layout)
        try:
            yield writer
        finally:
            writer.close()
        return
    if layout.form in FOLDER_FORMATS:
        place.mkdir()
        with (place / INDEX).open("w", encoding="utf-8", newline="") as index:
            yield FolderWriter(place, layout, CsvWriter(index, layout))
        return
    with place.open("w", encoding="utf-8", newline="") as file:
        yield text_writer(file, layout)


def text_writer(file: TextIO, layout: Layout) -> RowWriter:
    """A writer of CSV or JSON Lines to an open file."""
    return CsvWriter(file, layout) if layout.form == "csv" else JsonLinesWriter(file, layout)


class CsvWriter:
    """The columns of the contract; with ``top_k`` above 1 also label_2, score_2 and so on."""

    def __init__(self, file: TextIO, layout: Layout) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        # A carriage return ends a row for every reader and is not quoted by the writer.
        self._quoting = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_ALL)
        self._top_k, self._truth = layout.top_k, layout.truth
        extra = [f"{name}_{k}" for k in range(2, layout.top_k + 1) for name in ("label", "score")]
        self._writer.writerow([*COLUMNS, *extra, *(["expected"] if layout.truth else [])])

    def write(self, row: Row) -> None:
        cells = [
            cell
            for label, score in row.scores[: self._top_k]
            for cell in (label, f"{score:.{SCORE_DIGITS}f}")
        ]
        cells[:1] = [row.label] if cells else []
        cells += [""] * (2 * self._top_k - len(cells))
        times = ["" if t is None else f"{t:.3f}" for t in (row.start, row.end)]
        cells = [row.filename, *times, *cells[:2], row.status, row.error, *cells[2:]]
        cells = [*cells, row.truth] if self._truth else cells
        plain = not any("\r" in cell for cell in (row.filename, row.error, row.truth))
        (self._writer if plain else self._quoting).writerow(cells)


class JsonLinesWriter:
    """One JSON object a line, keyed by column; ``top_k`` above 1 adds the list ``scores``."""

    def __init__(self, file: TextIO, layout: Layout) -> None:
        self._file = file
        self._top_k, self._truth = layout.top_k, layout.truth

    def write(self, row: Row) -> None:
        values = _values(row)
        if self._top_k > 1:
            values["scores"] = [{"label": n, "score": s} for n, s in row.scores[: self._top_k]]
        if self._truth:
            values["expected"] = row.truth or None
        self._file.write(json.dumps(values, ensure_ascii=False) + "\n")


class ParquetWriter:
    """The columns of the contract, typed; ``top_k`` above 1 adds the list ``scores``."""

    def __init__(self, path: Path, layout: Layout) -> None:
        self._arrow = pyarrow = import_pyarrow()
        text, number = pyarrow.string(), pyarrow.float64()
        kinds = (text, number, number, text, number, text, text)
        fields = list(zip(COLUMNS, kinds, strict=True))
        if layout.top_k > 1:
            score = pyarrow.struct([("label", text), ("score", number)])
            fields.append(("scores", pyarrow.list_(score)))
        if layout.truth:
            fields.append(("expected", text))
        self._schema = pyarrow.schema(fields)
        self._writer = pyarrow.parquet.ParquetWriter(path, self._schema)
        self._rows: list[dict[str, Any]] = []

    def write(self, row: Row) -> None:
        scores = [{"label": label, "score": score} for label, score in row.scores]
        self._rows.append(_values(row) | {"scores": scores, "expected": row.truth or None})
        if len(self._rows) >= _PARQUET_ROWS:
            self._flush()

    def close(self) -> None:
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        self._writer.write_table(self._arrow.Table.from_pylist(self._rows, schema=self._schema))
        self._rows.clear()


def import_pyarrow() -> Any:
    """The module, with ``pyarrow.parquet``.

    Raises:
        BatchError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ModuleNotFoundError as error:
        raise BatchError(
            "Parquet needs pyarrow; install it with: pip install 'earshot[parquet]'"
        ) from error
    return pyarrow


class FolderWriter:
    """A label track or selection table a recording, and ``index.csv`` with a row for every hit.

    A recording without a hit has an empty one; one that could not be read is in the index only.
    """

    def __init__(self, folder: Path, layout: Layout, index: CsvWriter) -> None:
        self._folder, self._layout, self._index = folder, layout, index
        self._raven = layout.form == "raven"
        self._name = ""
        self._path = folder
        self._number = 0

    def write(self, row: Row) -> None:
        self._index.write(row)
        if row.error:
            return
        if row.filename != self._name:
            self._name, self._number = row.filename, 0
            self._path = self._place(row.filename)
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(_RAVEN_HEADER if self._raven else "", encoding="utf-8")
        if row.label:
            self._number += 1
            line = self._selection(row) if self._raven else _track(row)
            with self._path.open("a", encoding="utf-8", newline="") as file:
                file.write(line)

    def _place(self, filename: str) -> Path:
        """A path of its own: by the stem, or by the whole name where the stem is taken."""
        relative = Path(os.path.relpath(filename, self._layout.base))
        *folders, last = [_short(_one_line(p)) for p in relative.parts if p not in ("/", "..", ".")]
        place = self._folder
        for folder in folders:
            place /= folder
            while place.is_file():  # the track of a recording that has the folder's name
                place = place.with_name(f"{place.name}_")
        audio = place / last
        suffix = ".selections.txt" if self._raven else ".txt"
        names = chain([audio.stem, audio.name], (f"{audio.name}.{n}" for n in count(2)))
        paths = (audio.with_name(_short(name, suffix) + suffix) for name in names)
        return next(path for path in paths if not path.exists())

    def _selection(self, row: Row) -> str:
        times = [f"{t:.6f}" for t in (row.start or 0.0, row.end or 0.0)]
        band = ["0.0", f"{self._layout.max_hz:.1f}"]
        place = [_one_line(row.filename), times[0]]
        what = [_one_line(row.label), f"{row.scores[0][1]:.{SCORE_DIGITS}f}"]
        return (
            "\t".join([str(self._number), "Spectrogram 1", "1", *times, *band, *place, *what])
            + "\n"
        )


_RAVEN_HEADER = (
    "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\t"
    "Begin Path\tFile Offset (s)\tLabel\tScore\n"
)


def _track(row: Row) -> str:
    return f"{row.start or 0.0:.6f}\t{row.end or 0.0:.6f}\t{_one_line(row.label)}\n"


def _short(name: str, suffix: str = "") -> str:
    """A name that a file system takes with this suffix: a long one ends in its hash."""
    room = _LONGEST_NAME - len(suffix)
    if len(name.encode()) <= room:
        return name
    mark = hashlib.sha256(name.encode()).hexdigest()[:12]
    return f"{name.encode()[: room - 13].decode(errors='ignore')}-{mark}"


def _one_line(text: str) -> str:
    return re.sub(r"[\t\n\r]", " ", text)


def _values(row: Row) -> dict[str, Any]:
    return {
        "filename": row.filename,
        "start": row.start,
        "end": row.end,
        "label": row.label or None,
        "score": row.scores[0][1] if row.scores else None,
        "status": row.status,
        "error": row.error or None,
    }
