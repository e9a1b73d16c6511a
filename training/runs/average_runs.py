"""The mean of the weights of several runs that started from the same weights: to be exported.

Runs of other seeds and rates end near each other, and the mean of their weights is right about as
often as the mean of their answers, at the cost of one network ("model soups", Wortsman et al.,
arXiv:2203.05482).
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from earful.data.dataset.dataset import Dataset
from earful.training.config.train_config import TrainingError
from earful.training.loaders.loader import stored_features
from earful.training.runs.metrics_file import RunMetrics
from earful.training.runs.run_dataset import write_run_dataset
from earful.training.runs.run_metrics import write_report
from earful.training.trainer.checkpoint import (
    BEST_CHECKPOINT,
    Checkpoint,
    load_checkpoint,
    rebuild_network,
    save_checkpoint,
)
from earful.training.trainer.objectives import objective_for
from earful.training.trainer.setup import augmented_validation
from earful.training.trainer.trainer import FitResult


def average_runs(runs: Sequence[Path], dataset: Dataset, out: Path) -> RunMetrics:
    """Write a run whose weights are the mean of the best epochs of ``runs``, calibrated anew.

    Its settings and history are those of the run with the lowest validation loss. It cannot be
    resumed. Returns its metrics.json.

    Raises:
        TrainingError: a run has no usable checkpoint, or their networks, labels or data differ.
    """
    checkpoints = [load_checkpoint(run / BEST_CHECKPOINT) for run in runs]
    best = min(checkpoints, key=lambda checkpoint: checkpoint.best.val_loss)
    for run, checkpoint in zip(runs, checkpoints, strict=True):
        if _kind(checkpoint) != _kind(checkpoints[0]):
            raise TrainingError(
                f"{run} has another network, other labels or other data than {runs[0]}; average "
                "runs of one configuration"
            )
    weights = _mean([checkpoint.weights for checkpoint in checkpoints])
    averaged = replace(best, weights=weights, raw_weights={}, optimizer={}, calibration=None)
    network, config = rebuild_network(averaged), averaged.config
    cpu = torch.device("cpu")
    val = stored_features(dataset, config, "val", cpu)
    calibration = objective_for(config.model).calibrate(
        network, augmented_validation(dataset, val, config, cpu), config
    )
    averaged = replace(averaged, calibration=calibration)
    out.mkdir(parents=True, exist_ok=True)
    save_checkpoint(out / BEST_CHECKPOINT, averaged)
    write_run_dataset(out, dataset)
    return write_report(dataset, out, FitResult(network, averaged, "cpu", 0))


def _kind(checkpoint: Checkpoint) -> tuple[object, ...]:
    sizes = {name: tuple(tensor.shape) for name, tensor in checkpoint.weights.items()}
    return checkpoint.config.model, checkpoint.labels, checkpoint.dataset_hash, sizes


def _mean(weights: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """The mean of each weight; integers (counters of batches) are those of the first."""
    mean = dict(weights[0])
    for name, first in weights[0].items():
        if first.is_floating_point():
            mean[name] = torch.stack([others[name] for others in weights]).mean(0)
    return mean
