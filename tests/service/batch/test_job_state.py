"""job.json: what is written is read again, and what does not fit is damage."""

import json
from pathlib import Path

import pytest

from earful.service.batch.chunks import InputsFingerprint
from earful.service.batch.errors import BatchError
from earful.service.batch.job_state import JobState, ResultsFingerprint
from earful.service.batch.settled_rows import RunStats

STATE = JobState(
    settings={"format": "csv", "background": ["noise"], "top_k": 3},
    inputs=InputsFingerprint(2, "0" * 64),
    stats=RunStats(2, 1.5, {"empty_audio": 1}),
    results=ResultsFingerprint(1, 100, 5),
)


def test_state_is_read_as_it_was_saved(tmp_path: Path) -> None:
    assert JobState.load(tmp_path) is None
    STATE.save(tmp_path)
    assert JobState.load(tmp_path) == STATE


@pytest.mark.parametrize(
    "changes",
    [
        {"schema_version": 3},
        {"schema_version": None},
        {"settings": []},
        {"inputs": {"count": 2}},
        {"inputs": {"count": True, "sha256": ""}},
        {"inputs": "2"},
        {"stats": {"inputs": "2"}},
        {"stats": {"failed": {"empty_audio": "1"}}},
        {"stats": {"colour": 1}},
        {"stats": {"seconds": float("nan")}},
        {"results": [1, 100, 5]},
        {"pending_results": {"files": 1, "bytes": 1.0, "mtime_ns": 1}},
        {"colour": 1},
    ],
    ids=str,
)
def test_a_state_that_does_not_fit_is_damage(tmp_path: Path, changes: dict[str, object]) -> None:
    STATE.save(tmp_path)
    path = tmp_path / "job.json"
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | changes), "utf-8")
    with pytest.raises(BatchError, match=r"is damaged or from another version .*--restart"):
        JobState.load(tmp_path)


@pytest.mark.parametrize("text", ["{", "[]", "null", "[" * 100_000, '{"a": 1, "a": 2}'])
def test_what_is_no_state_is_damage(tmp_path: Path, text: str) -> None:
    (tmp_path / "job.json").write_text(text, "utf-8")
    with pytest.raises(BatchError, match="is damaged"):
        JobState.load(tmp_path)
