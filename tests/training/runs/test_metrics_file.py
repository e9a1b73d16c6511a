"""metrics.json is what training wrote, or it is told to be damaged."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from earful.data.dataset.dataset import Dataset
from earful.training.config.train_config import TrainingError, default_config
from earful.training.runs.metrics_file import read_run_metrics
from earful.training.runs.train_run import train_run


@pytest.fixture(scope="module")
def written(tones: Dataset, tmp_path_factory: pytest.TempPathFactory) -> str:
    run = tmp_path_factory.mktemp("run")
    metrics = train_run(tones, run, default_config("majority"))
    assert read_run_metrics(run) == metrics
    return (run / "metrics.json").read_text("utf-8")


def test_a_run_that_is_not_finished_has_none(tmp_path: Path) -> None:
    assert read_run_metrics(tmp_path) is None


def test_a_file_of_an_earlier_version_has_no_dataset(written: str, tmp_path: Path) -> None:
    values = json.loads(written)
    del values["dataset"]
    (tmp_path / "metrics.json").write_text(json.dumps(values))
    metrics = read_run_metrics(tmp_path)
    assert metrics is not None
    assert metrics.dataset == ""


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    "change",
    [
        lambda values: values.update(test=7),
        lambda values: values.update(validation=None),
        lambda values: values.update(epochs=True),
        lambda values: values.update(best_epoch="1"),
        lambda values: values.update(dataset=5),
        lambda values: values.update(history=["x"]),
        lambda values: values.pop("split_mode"),
        lambda values: values["test"].update(accuracy="x"),
        lambda values: values["test"].update(accuracy=float("nan")),
        lambda values: values["test"].update(accuracy_ci95=[0.1]),
        lambda values: values["test"].update(confusion=[[1]]),
        lambda values: values["test"].update(per_label=[1]),
        lambda values: values["test"]["per_label"].popitem(),
        lambda values: next(iter(values["test"]["per_label"].values())).pop("f1"),
        lambda values: values["test"]["per_speaker"].update(x={"clips": 1}),
        lambda values: values["test"].pop("labels"),
        lambda values: values["test"].update(hamming_loss=0.1),
    ],
)
def test_values_that_do_not_fit_are_refused(written: str, tmp_path: Path, change: Change) -> None:
    values = json.loads(written)
    change(values)
    (tmp_path / "metrics.json").write_text(json.dumps(values))
    with pytest.raises(TrainingError, match="is damaged"):
        read_run_metrics(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_no_object_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metrics.json").write_bytes(content)
    with pytest.raises(TrainingError, match="write it again"):
        read_run_metrics(tmp_path)


def test_a_damaged_file_of_a_fitted_baseline_is_written_again(
    tones: Dataset, tmp_path: Path, written: str
) -> None:
    config = replace(default_config("majority"))
    train_run(tones, tmp_path, config)
    (tmp_path / "metrics.json").write_text("junk")
    metrics = train_run(tones, tmp_path, config, resume=True)
    assert read_run_metrics(tmp_path) == metrics
