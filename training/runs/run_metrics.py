"""What a finished run leaves beside its checkpoints: metrics.json and its pictures."""

import dataclasses
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from earful.data.atomic_write import staged_file
from earful.data.dataset.dataset import Dataset
from earful.models.bundle.decision import said_labels
from earful.models.networks.autoencoder import levelled
from earful.models.networks.zoo import entry, parameter_count
from earful.training.loaders.loader import EVALUATION_BATCH
from earful.training.loaders.storage import Source, read_through
from earful.training.metrics.calibration import to_scores
from earful.training.metrics.classification import Metrics, compute_metrics
from earful.training.metrics.multilabel import compute_set_metrics
from earful.training.plots.plots import plot_confusion, plot_learning_curves
from earful.training.trainer.checkpoint import CONFUSION, METRICS
from earful.training.trainer.objectives import reconstruction_error
from earful.training.trainer.trainer import FitResult

CURVES = "curves.png"


@dataclass(frozen=True)
class Reconstructed:
    """How well clips come out of an autoencoder.

    ``reconstruction_error`` is the mean squared error in squared standard deviations of a bin,
    ``explained_variance`` the share of what tells the clips apart that is given back.
    """

    clips: int
    reconstruction_error: float
    explained_variance: float

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def write_report(dataset: Dataset, run: Path, result: FitResult) -> dict[str, Any]:
    """Measure the best epoch on the validation and test parts and write the run's report.

    The test part is used here, once, after everything was chosen. Returns what metrics.json holds.
    """
    checkpoint = result.checkpoint
    classifies = entry(checkpoint.config.model).task == "classification"
    measure = measure_split if classifies else measure_reconstruction
    parts = {
        split: measure(dataset, result, split)
        for split in ("val", "test")
        if len(dataset.rows(split))
    }
    metrics: dict[str, Any] = {
        "model": checkpoint.config.model,
        "features": checkpoint.config.features,
        "parameters": parameter_count(result.network.network),
        "dataset": str(dataset.folder.resolve()),
        "split_mode": dataset.split_mode,
        "best_epoch": checkpoint.best.epoch,
        "epochs": len(checkpoint.history),
        "training_seconds": sum(record.seconds for record in checkpoint.history),
        "device": result.device,
        "config": checkpoint.config.to_dict(),
        "validation": parts["val"].to_dict(),
        "test": parts["test"].to_dict() if "test" in parts else None,
        "history": [dataclasses.asdict(record) for record in checkpoint.history],
    }
    with staged_file(run / METRICS) as staging:
        staging.write_text(json.dumps(metrics, indent=2, ensure_ascii=False) + "\n", "utf-8")
    if not entry(checkpoint.config.model).fitted:
        plot_learning_curves(checkpoint.history, checkpoint.config, run / CURVES)
    shown = "test" if "test" in parts else "val"
    if isinstance(found := parts[shown], Metrics):
        clips = f"{found.clips} {shown} clips ({dataset.split_mode} split)"
        title = f"{checkpoint.config.model}, {clips}"
        plot_confusion(found.confusion, dataset.labels, title, run / CONFUSION)
    return metrics


def measure_split(dataset: Dataset, result: FitResult, split: str) -> Metrics:
    """Metrics of the best epoch's network on the stored features of one split."""
    rows = dataset.rows(split)
    with torch.inference_mode():
        logits = torch.cat([result.network(x) for x in _batches(dataset, result, split)]).numpy()
    clips, kind = dataset.clips.iloc[rows], result.checkpoint.scores
    speakers, scores = clips["speaker"].tolist(), to_scores(logits, kind)
    said = said_labels(logits if kind == "softmax" else scores, kind)  # softmax keeps the order
    if kind == "softmax" and not dataset.multi_label:
        predicted = [dataset.labels[i] for i in said.argmax(1)]
        return compute_metrics(clips["label"].tolist(), predicted, speakers, dataset.labels)
    return compute_set_metrics(dataset.memberships[rows], said, scores, speakers, dataset.labels)


def measure_reconstruction(dataset: Dataset, result: FitResult, split: str) -> Reconstructed:
    """How well the best epoch's autoencoder gives back the clips of one split."""
    n_clips, errors = len(dataset.rows(split)), 0.0
    total, squares = torch.zeros(()), torch.zeros(())
    with torch.inference_mode():
        for batch in _batches(dataset, result, split):
            errors += float(reconstruction_error(result.network, batch).sum())
            wanted = levelled(result.network.normalise(batch)).double()
            total, squares = total + wanted.sum(dim=0), squares + wanted.square().sum(dim=0)
    variance = float((squares / n_clips - (total / n_clips).square()).mean())
    error = errors / n_clips
    return Reconstructed(n_clips, error, 1 - error / variance if variance > 0 else 0.0)


def _batches(dataset: Dataset, result: FitResult, split: str) -> Iterator[torch.Tensor]:
    """The stored features (batch, bins, frames) of one split, in its order."""
    features = dataset.array(result.checkpoint.config.features)
    return read_through(Source(features, dataset.rows(split)), EVALUATION_BATCH)
