"""Reads the results of ``classify`` row by row: CSV, JSON Lines or Parquet."""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from earful.data.errors import command
from earful.data.text.formula_cells import unmark_formula
from earful.service.batch.errors import BatchError
from earful.service.batch.formats import FILE_SUFFIXES, import_pyarrow
from earful.service.batch.rows import COLUMNS, ResultRow

_NOT_RESULTS = "is not a result of `earful classify`"


def read_results(path: Path) -> Iterator[ResultRow]:
    """Yield the rows of a results file in constant memory; ``scores`` holds the best one only.

    Raises:
        BatchError: the file is missing, has another format, or lacks a column.
    """
    format_name = FILE_SUFFIXES.get(path.suffix.lower())
    if format_name is None:
        raise BatchError(f"results are {', '.join(FILE_SUFFIXES)} files; found {str(path)!r}")
    read = {"csv": _read_csv, "jsonl": _read_json_lines, "parquet": _read_parquet}[format_name]
    try:
        for values in read(path):
            yield _to_row(values)
    except OSError as error:
        raise BatchError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise BatchError(
            f"{path} {_NOT_RESULTS}: {_reason(error)}; write one: "
            f"{command('classify', 'FOLDER', '--out', 'results.csv')}"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"a row has no {error}"
    # Subclasses are of JSON and Arrow, whose texts are about their own formats.
    return str(error) if type(error) is ValueError else "it cannot be read in this format"


def _read_csv(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"the file has no column {', '.join(missing)}")
        for values in reader:
            yield {name: unmark_formula(text or "") for name, text in values.items()}


def _read_json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    for batch in import_pyarrow().parquet.ParquetFile(path).iter_batches():
        yield from batch.to_pylist()


def _to_row(values: dict[str, Any]) -> ResultRow:
    label, score = _text(values["label"]), _number(values["score"])
    return ResultRow(
        filename=_text(values["filename"]),
        start=_number(values["start"]),
        end=_number(values["end"]),
        label=label,
        score=score,
        scores=() if score is None else ((label, score),),
        error=_text(values["error"]),
        expected=_text(values.get("expected")),
    )


def _text(value: Any) -> str:
    if not isinstance(value, str | None):
        raise ValueError(f"expected a text, found {value!r:.100}")
    return value or ""


def _number(value: Any) -> float | None:
    if value in (None, ""):
        return None
    if isinstance(value, bool) or not math.isfinite(number := float(value)):
        raise ValueError(f"expected a finite number, found {value!r}")
    return number
