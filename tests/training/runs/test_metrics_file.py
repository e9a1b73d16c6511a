"""metrics.json is what training wrote, or it is told to be damaged."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from earful.data.atomic_write import write_json
from earful.data.dataset.dataset import Dataset
from earful.training.config.train_config import TrainingError, default_config
from earful.training.metrics.multilabel import MultiLabelMetrics
from earful.training.runs.metrics_file import ReconstructionMetrics, read_run_metrics
from earful.training.runs.train_run import train_run
from earful.training.trainer.layer_health import LayerHealth

SEVERAL_LABELS = MultiLabelMetrics(
    clips=4,
    accuracy=0.5,
    accuracy_ci95=(0.1, 0.9),
    macro_f1=0.5,
    per_label={"a": {"clips": 4, "precision": 0.5, "recall": 0.5, "f1": 0.5}},
    per_speaker={"x": {"clips": 4, "accuracy": 0.5}},
    confusion=[[2]],
    labels=("a",),
    hamming_loss=0.5,
    mean_average_precision=0.5,
)
RECONSTRUCTION = ReconstructionMetrics(clips=4, reconstruction_error=0.5, explained_variance=0.5)


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


def test_the_order_of_the_keys_does_not_matter(written: str, tmp_path: Path) -> None:
    values = json.loads(written)
    rows = values["test"]["per_label"]
    values["test"]["per_label"] = dict(reversed(rows.items()))
    (tmp_path / "metrics.json").write_text(json.dumps(dict(reversed(values.items()))))
    metrics = read_run_metrics(tmp_path)
    assert metrics is not None
    assert metrics.to_dict() == json.loads(written)


@pytest.mark.parametrize("part", [SEVERAL_LABELS, RECONSTRUCTION])
def test_all_kinds_of_metrics_are_read_as_they_were_written(
    written: str, tmp_path: Path, part: MultiLabelMetrics | ReconstructionMetrics
) -> None:
    (tmp_path / "metrics.json").write_text(written)
    metrics = read_run_metrics(tmp_path)
    assert metrics is not None
    layers = (LayerHealth("blocks.0", 0.25, None), LayerHealth("head", None, 1e-3))
    history = (replace(metrics.history[0], layers=layers),)
    other = replace(metrics, validation=part, test=None, history=history)
    write_json(tmp_path / "metrics.json", other.to_dict())
    assert read_run_metrics(tmp_path) == other


Change = Callable[[dict[str, Any]], object]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda values: values.update(test=7), "test must be an object, found 7"),
        (lambda values: values.update(validation=None), "validation must be an object"),
        (lambda values: values.update(epochs=True), "epochs must be a whole number"),
        (lambda values: values.update(best_epoch="1"), "best_epoch must be a whole number"),
        (lambda values: values.update(dataset=5), "dataset must be a string"),
        (lambda values: values.update(history=["x"]), "history.0 must be an object"),
        (lambda values: values.pop("split_mode"), "split_mode is missing"),
        (lambda values: values["test"].update(accuracy="x"), "test.accuracy must be a number"),
        (lambda values: values["test"].update(accuracy=7), "accuracy must be from 0 to 1"),
        (lambda values: values["test"].update(accuracy=float("nan")), "NaN is no number"),
        (lambda values: values["test"].update(clips=0), "clips must be 1 or more"),
        (lambda values: values["test"].update(accuracy_ci95=[0.1]), "accuracy_ci95.1 is missing"),
        (lambda values: values["test"].update(confusion=[[1]]), "confusion matrix is not of 3"),
        (lambda values: values["test"].update(per_label=[1]), "test.per_label must be an object"),
        (lambda values: values["test"]["per_label"].popitem(), "per_label is not of the labels"),
        (lambda values: values["test"]["per_label"]["low"].pop("f1"), "per_label of 'low' must"),
        (lambda values: values["test"]["per_label"]["low"].update(f1=2), "'low' must have shares"),
        (lambda values: values["test"]["per_speaker"].update(x={"clips": 1}), "per_speaker of 'x'"),
        (lambda values: values["test"].pop("labels"), "test.labels is missing"),
        (lambda values: values["test"].update(hamming_loss=0.1), "mean_average_precision is"),
        (
            lambda values: values.update(validation=vars(RECONSTRUCTION)),
            "test and validation have other",
        ),
    ],
)
def test_values_that_do_not_fit_are_refused(
    written: str, tmp_path: Path, change: Change, problem: str
) -> None:
    values = json.loads(written)
    change(values)
    (tmp_path / "metrics.json").write_text(json.dumps(values))
    with pytest.raises(TrainingError, match=rf"is damaged \(.*{problem}"):
        read_run_metrics(tmp_path)


@pytest.mark.parametrize("content", [b"", b"[]", b"\xff\xfe\x00", b"[" * 100_000])
def test_what_is_no_object_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "metrics.json").write_bytes(content)
    with pytest.raises(TrainingError, match="write it again"):
        read_run_metrics(tmp_path)


def test_a_damaged_file_of_a_fitted_baseline_is_written_again(
    tones: Dataset, tmp_path: Path
) -> None:
    config = default_config("majority")
    train_run(tones, tmp_path, config)
    (tmp_path / "metrics.json").write_text("junk")
    metrics = train_run(tones, tmp_path, config, resume=True)
    assert read_run_metrics(tmp_path) == metrics


def test_validation_clips_that_were_fitted_are_not_measured_again(
    tones: Dataset, tmp_path: Path
) -> None:
    config, fitted = default_config("majority"), tones.with_validation_fitted()
    metrics = train_run(fitted, tmp_path, config)
    assert train_run(fitted, tmp_path, config, resume=True) == metrics
    (tmp_path / "metrics.json").write_text("junk")
    with pytest.raises(TrainingError, match="cannot be measured again"):
        train_run(fitted, tmp_path, config, resume=True)
