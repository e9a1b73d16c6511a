"""``train`` on labels: prepared beside the run, once, and again only when they have changed."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

import earful
from earful.data.errors import EarfulError
from tests.training.conftest import PITCHES_HZ, RATE_HZ, write_tones


@pytest.fixture
def labels(tones_csv: Path, tmp_path: Path) -> Path:
    """A labels CSV of tones, which a test may change."""
    shutil.copytree(tones_csv.parent, tmp_path / "tones")
    return tmp_path / "tones" / "labels.csv"


def train(source: Path, run: Path, **settings: bool) -> earful.TrainResult:
    return earful.train(source, run, model="majority", progress=True, **settings)


def test_labels_are_prepared_beside_the_run_and_used_again(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = train(labels, tmp_path / "run")
    dataset = tmp_path / "run-dataset"
    assert result.dataset == dataset
    assert f"{labels} is prepared: the dataset is {dataset}" in capsys.readouterr().err
    manifest = (dataset / "dataset.json").stat().st_mtime_ns
    assert train(labels, tmp_path / "run", resume=True).epochs == result.epochs
    assert f"{dataset}, prepared from {labels}, is used again" in capsys.readouterr().err
    assert (dataset / "dataset.json").stat().st_mtime_ns == manifest


def test_a_folder_of_labels_is_prepared_too(tmp_path: Path) -> None:
    time = np.arange(RATE_HZ // 2) / RATE_HZ
    for label, pitch_hz in PITCHES_HZ.items():
        (tmp_path / "clips" / label).mkdir(parents=True)
        for n in range(10):
            sound = 0.3 * np.sin(2 * np.pi * (pitch_hz + n) * time)
            soundfile.write(tmp_path / "clips" / label / f"{n}.wav", sound, RATE_HZ)
    result = train(tmp_path / "clips", tmp_path / "run")
    assert result.metrics["test"]["clips"] == 6


def test_changed_files_are_prepared_again_but_never_under_a_run(
    labels: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train(labels, tmp_path / "run")
    soundfile.write(labels.parent / "low_0.wav", np.full(RATE_HZ, 0.1), RATE_HZ)
    with pytest.raises(EarfulError, match=r"have changed since .*run-dataset was prepared"):
        train(labels, tmp_path / "run", resume=True)
    shutil.rmtree(tmp_path / "run")
    capsys.readouterr()
    train(labels, tmp_path / "run")
    assert "is prepared again, as it has changed" in capsys.readouterr().err


@pytest.mark.parametrize("record", [None, "{", "[1]", "5", '{"source": 5}', "[" * 100_000])
def test_a_dataset_of_that_name_is_not_replaced(
    labels: Path, tmp_path: Path, record: str | None
) -> None:
    earful.prepare(labels, tmp_path / "run-dataset")
    if record is not None:
        (tmp_path / "run-dataset" / "source.json").write_text(record)
    before = (tmp_path / "run-dataset" / "dataset.json").read_bytes()
    with pytest.raises(EarfulError, match="that `train` has not prepared; train on it by its name"):
        train(labels, tmp_path / "run")
    assert (tmp_path / "run-dataset" / "dataset.json").read_bytes() == before


def test_what_can_be_refused_is_refused_before_preparing(labels: Path, tmp_path: Path) -> None:
    with pytest.raises(EarfulError, match="no network 'crn'"):
        earful.train(labels, tmp_path / "run", model="crn")
    with pytest.raises(EarfulError, match="cnn has no option width"):
        earful.train(labels, tmp_path / "run", model="cnn", width=2)
    assert not (tmp_path / "run-dataset").exists()
    train(labels, tmp_path / "run")
    write_tones(labels.parent, seed=8)
    before = (tmp_path / "run-dataset" / "dataset.json").read_bytes()
    with pytest.raises(EarfulError, match="run holds a run"):
        train(labels, tmp_path / "run")
    assert (tmp_path / "run-dataset" / "dataset.json").read_bytes() == before


def test_several_processes_are_told_to_prepare_first(
    labels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (
        ("TORCHELASTIC_RUN_ID", "x"),
        ("RANK", "0"),
        ("LOCAL_RANK", "0"),
        ("WORLD_SIZE", "2"),
    ):
        monkeypatch.setenv(name, value)
    with pytest.raises(EarfulError, match="several processes need a prepared dataset"):
        train(labels, tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nowhere", r"is not a dataset: dataset\.json is missing; make one with `earful prepare"),
        ("empty", "is an empty folder; label recordings in a CSV"),
        ("tones/low_0.wav", "is a recording; classify it"),
        ("tones", r"is a folder with a labels CSV; give that: .*labels\.csv"),
        ("bad.csv", r"(?s)1 row cannot be used; .*`earful prepare --skip-bad`.*gone\.wav"),
    ],
)
def test_what_is_no_dataset_and_no_labels_is_named(
    labels: Path, tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    rows = labels.read_text().splitlines()
    rows = [rows[0], *(f"tones/{row}" for row in rows[1:]), "gone.wav,low,speaker0"]
    (tmp_path / "bad.csv").write_text("\n".join(rows))
    with pytest.raises(EarfulError, match=message):
        train(tmp_path / name, tmp_path / "run")
