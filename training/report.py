"""What a finished run leaves beside its checkpoints: metrics.json and two pictures."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.dataset import Dataset
from data.staging import staged_file
from models.zoo import parameter_count
from training.batches import EVALUATION_BATCH
from training.fit import FitResult
from training.metrics import Metrics, compute_metrics
from training.plots import plot_confusion, plot_learning_curves

METRICS, CURVES, CONFUSION = "metrics.json", "curves.png", "confusion.png"


def write_report(dataset: Dataset, run: Path, result: FitResult) -> dict[str, Any]:
    """Measure the best epoch on the validation and test parts and write the run's report.

    The test part is used here, once, after everything was chosen. Returns what metrics.json holds.
    """
    checkpoint = result.checkpoint
    parts = {
        split: measure_split(dataset, result, split)
        for split in ("val", "test")
        if len(dataset.rows(split))
    }
    metrics: dict[str, Any] = {
        "model": checkpoint.config.model,
        "features": checkpoint.config.features,
        "parameters": parameter_count(result.network.network),
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
    plot_learning_curves(checkpoint.history, run / CURVES)
    shown = "test" if "test" in parts else "val"
    clips = f"{parts[shown].clips} {shown} clips ({dataset.split_mode} split)"
    title = f"{checkpoint.config.model}, {clips}"
    plot_confusion(parts[shown].confusion, dataset.labels, title, run / CONFUSION)
    return metrics


def measure_split(dataset: Dataset, result: FitResult, split: str) -> Metrics:
    """Metrics of the best epoch's network on the stored features of one split."""
    rows = dataset.rows(split)
    features = dataset.array(result.checkpoint.config.features)
    guesses: list[int] = []
    with torch.inference_mode():
        for start in range(0, len(rows), EVALUATION_BATCH):
            batch = np.ascontiguousarray(features[rows[start : start + EVALUATION_BATCH]])
            guesses += result.network(torch.from_numpy(batch)).argmax(1).tolist()
    clips = dataset.clips.iloc[rows]
    predicted = [dataset.labels[i] for i in guesses]
    return compute_metrics(
        clips["label"].tolist(), predicted, clips["speaker"].tolist(), dataset.labels
    )
