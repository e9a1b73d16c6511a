"""Results are read back row by row; a row of another kind is refused with what is wrong."""

import json
from pathlib import Path

import pytest

from earful.service.batch.errors import BatchError
from earful.service.batch.results import read_results
from earful.service.batch.rows import ResultRow

ROW = {
    "filename": "a.wav",
    "start": 0.0,
    "end": 0.5,
    "label": "7",
    "score": 0.9,
    "status": "ok",
    "error": None,
}


def write(folder: Path, *rows: object) -> Path:
    path = folder / "results.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def test_rows_are_read(tmp_path: Path) -> None:
    [row] = read_results(write(tmp_path, ROW))
    assert row == ResultRow("a.wav", 0.0, 0.5, "7", 0.9, (("7", 0.9),))


@pytest.mark.parametrize(
    "row",
    [
        [],
        5,
        ROW | {"label": 7},
        ROW | {"label": ["7"]},
        ROW | {"filename": {"a": 1}},
        ROW | {"error": True},
        ROW | {"score": True},
        ROW | {"score": float("nan")},
        ROW | {"start": []},
        ROW | {"expected": 7},
        {"filename": "a.wav"},
    ],
    ids=str,
)
def test_a_row_of_another_kind_is_refused(tmp_path: Path, row: object) -> None:
    with pytest.raises(BatchError, match="is not a result of"):
        list(read_results(write(tmp_path, ROW, row)))
