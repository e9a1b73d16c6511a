"""Opening a dataset: it equals what was prepared; damage is an error with a reason."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from earful.data.dataset.dataset import DatasetError, open_dataset
from earful.data.dataset.prepare import prepare
from earful.data.labels.labels_csv import read_labels

LABELS = ["10", "2", "NA", "null"]


@pytest.fixture
def folder(tmp_path: Path, write_wav: Callable[..., Path]) -> Path:
    """A dataset of 16 clips with labels and speakers that pandas would convert by default."""
    lines = ["filename,label,speaker"]
    for n in range(16):
        write_wav(f"{n}.wav", np.random.default_rng(n).uniform(-0.5, 0.5, 900))
        lines.append(f"{n}.wav,{LABELS[n % 4]},00{n // 4}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    prepare(read_labels(tmp_path / "labels.csv"), tmp_path / "dataset")
    return tmp_path / "dataset"


def test_prepared_dataset_is_read_back(folder: Path) -> None:
    opened = open_dataset(folder)
    assert opened.labels == ("2", "10", "NA", "null")
    assert [opened.labels[target] for target in opened.targets] == LABELS * 4
    assert opened.clips["label"].tolist() == LABELS * 4
    assert opened.clips["speaker"].tolist() == [f"00{n // 4}" for n in range(16)]
    assert (opened.split_mode, len(opened.content_hash)) == ("speaker", 64)


def test_every_clip_is_in_one_split(folder: Path) -> None:
    opened = open_dataset(folder)
    parts = [opened.rows(split) for split in ("train", "val", "test")]
    assert sorted(np.concatenate(parts)) == list(range(16))
    assert all(len(part) for part in parts)


def test_arrays_are_read_only(folder: Path) -> None:
    array = open_dataset(folder).array("waveforms")
    with pytest.raises(ValueError, match="read-only"):
        array[0, 0] = 1


@pytest.mark.parametrize("name", ["nowhere", "labels.csv", "."])
def test_missing_dataset_error_names_the_prepare_command(tmp_path: Path, name: str) -> None:
    (tmp_path / "labels.csv").write_text("filename,label\n")
    with pytest.raises(DatasetError, match=r"is not a dataset.*earful prepare"):
        open_dataset(tmp_path / name)


@pytest.mark.parametrize("version", [0, 1, 2, 4, "3", None])
def test_other_schema_version_is_refused(folder: Path, version: object) -> None:
    change(folder, schema_version=version)
    with pytest.raises(
        DatasetError,
        match=f"schema {version!r}, this version reads 3; prepare it again: `earful prepare",
    ):
        open_dataset(folder)


def change(folder: Path, **values: object) -> None:
    path = folder / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    "values",
    [
        {"labels": ["2", "10"]},
        {"labels": None},
        {"labels": "ab"},
        {"labels": {"2": 1, "10": 2}},
        {"content_hash": None},
        {"split_mode": 5},
        {"counts": {"clips": 16.0}},
        {"features": {}},
        {"features": None},
        {"counts": {"clips": 15}},
        {"counts": []},
    ],
    ids=str,
)
def test_inconsistent_manifest_is_reported_as_damage(
    folder: Path, values: dict[str, object]
) -> None:
    change(folder, **values)
    with pytest.raises(DatasetError, match=r"is damaged: .*; prepare it again"):
        open_dataset(folder)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("dataset.json", b"{"),
        ("dataset.json", b"\xff\xfe"),
        ("dataset.json", b"[" * 100_000),
        ("dataset.json", b'{"schema_version": 3, "schema_version": 3}'),
        ("clips.csv", b""),
        ("clips.csv", b"id,label\n0,2\n"),
        ("clips.csv", b'"'),
        ("clips.csv", b"\xff\xfe\x00"),
    ],
)
def test_unreadable_table_is_reported_as_damage(folder: Path, name: str, content: bytes) -> None:
    (folder / name).write_bytes(content)
    with pytest.raises(DatasetError, match="is damaged"):
        open_dataset(folder)


def test_missing_table_is_reported_as_damage(folder: Path) -> None:
    (folder / "clips.csv").unlink()
    with pytest.raises(DatasetError, match="is damaged"):
        open_dataset(folder)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"not an array", None, "cut", "rows"])
def test_unreadable_array_is_reported_as_damage(folder: Path, content: bytes | str | None) -> None:
    path = folder / "mfcc.npy"
    if content is None:
        path.unlink()
    elif content == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif content == "rows":
        np.save(path, np.load(path)[1:])
    elif isinstance(content, bytes):
        path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"mfcc\.npy (cannot be read|has 15 clips, not 16)"):
        open_dataset(folder).array("mfcc")
