"""The mean of several runs is exported as any other run."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from earful.data.dataset.dataset import Dataset
from earful.training.config.train_config import TrainingError, default_config
from earful.training.export.export import export
from earful.training.runs.average_runs import average_runs
from earful.training.runs.train_run import train_run
from earful.training.trainer.checkpoint import BEST_CHECKPOINT, load_checkpoint

QUICK = replace(default_config("tcresnet"), epochs=1, batch_size=16, options={"width": 16})


@pytest.mark.slow
def test_weights_are_the_mean_and_calibrated_anew(tones: Dataset, tmp_path: Path) -> None:
    runs = [tmp_path / f"run-{seed}" for seed in (1, 2)]
    for seed, run in enumerate(runs, 1):
        train_run(tones, run, replace(QUICK, seed=seed))
    metrics = average_runs(runs, tones, tmp_path / "mean")
    first, second, mean = (
        load_checkpoint(run / BEST_CHECKPOINT) for run in (*runs, tmp_path / "mean")
    )
    name = next(name for name, tensor in mean.weights.items() if tensor.dim() > 1)
    expected = (first.weights[name] + second.weights[name]) / 2
    torch.testing.assert_close(mean.weights[name], expected)
    assert mean.calibration not in (None, first.calibration, second.calibration)
    exported = export(tmp_path / "mean", tmp_path / "mean.onnx")
    assert exported.metadata.metrics["test"]["accuracy"] == metrics.test_of_classifier.accuracy


@pytest.mark.slow
def test_runs_of_other_networks_are_refused(tones: Dataset, tmp_path: Path) -> None:
    train_run(tones, tmp_path / "a", QUICK)
    train_run(tones, tmp_path / "b", replace(QUICK, options={"width": 24}))
    with pytest.raises(TrainingError, match="b has another network, other labels"):
        average_runs([tmp_path / "a", tmp_path / "b"], tones, tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
