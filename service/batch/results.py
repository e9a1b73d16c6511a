"""Results of ``classify`` read back, row by row: CSV, JSON Lines or Parquet."""

import csv
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from earful.service.batch.errors import BatchError
from earful.service.batch.formats import FILE_SUFFIXES, import_pyarrow
from earful.service.batch.rows import COLUMNS, Row

_NOT_RESULTS = "is no result of `earful classify`"


def read_results(path: Path) -> Iterator[Row]:
    """The rows of a file of results, in constant memory; of the scores the best alone.

    Raises:
        BatchError: a file that is missing, of another format, or lacks a column.
    """
    form = FILE_SUFFIXES.get(path.suffix.lower())
    if form is None:
        raise BatchError(f"results are {', '.join(FILE_SUFFIXES)}; found {str(path)!r}")
    read = {"csv": _csv, "jsonl": _json_lines, "parquet": _parquet}[form]
    try:
        for values in read(path):
            yield _row(values)
    except OSError as error:
        raise BatchError(f"cannot read {path}: {error.strerror or error}") from error
    except (ValueError, TypeError, KeyError, csv.Error) as error:
        raise BatchError(f"{path} {_NOT_RESULTS}: {type(error).__name__}: {error}") from error


def _csv(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"it has no column {', '.join(missing)}")
        yield from reader


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _parquet(path: Path) -> Iterator[dict[str, Any]]:
    for batch in import_pyarrow().parquet.ParquetFile(path).iter_batches():
        yield from batch.to_pylist()


def _row(values: dict[str, Any]) -> Row:
    label, score = values["label"] or "", _number(values["score"])
    return Row(
        filename=str(values["filename"]),
        start=_number(values["start"]),
        end=_number(values["end"]),
        label=label,
        score=score,
        scores=() if score is None else ((label, score),),
        error=values["error"] or "",
        truth=values.get("expected") or "",
    )


def _number(value: Any) -> float | None:
    if value in (None, ""):
        return None
    if not math.isfinite(number := float(value)):
        raise ValueError(f"a finite number is wanted, found {value!r}")
    return number
