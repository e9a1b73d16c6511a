"""The report of a finished run: metrics.json, learning curves and confusion matrix."""

from collections.abc import Iterator
from pathlib import Path

import torch

from earful.data.atomic_write import write_json
from earful.data.dataset.dataset import Dataset
from earful.models.bundle.decision import predicted_label_mask
from earful.models.networks.autoencoder import centred
from earful.models.networks.zoo import parameter_count, zoo_entry
from earful.training.loaders.loader import read_features
from earful.training.metrics.calibration import to_scores
from earful.training.metrics.classification import ClassificationMetrics, compute_metrics
from earful.training.metrics.multilabel import compute_multi_label_metrics
from earful.training.plots.plots import plot_confusion, plot_learning_curves
from earful.training.runs.metrics_file import PartMetrics, ReconstructionMetrics, RunMetrics
from earful.training.trainer.checkpoint import CONFUSION_FILENAME, METRICS_FILENAME
from earful.training.trainer.objectives import reconstruction_error
from earful.training.trainer.trainer import FitResult

CURVES_FILENAME = "curves.png"


def write_report(dataset: Dataset, run: Path, result: FitResult) -> RunMetrics:
    """Evaluate the best epoch on the validation and test parts and write the run's report.

    The test part is used only here, after all choices. Returns the content of metrics.json.
    """
    checkpoint = result.checkpoint
    has_test = len(dataset.rows("test")) > 0
    metrics = RunMetrics(
        model=checkpoint.config.model,
        features=checkpoint.config.features,
        parameters=parameter_count(result.network.network),
        dataset=str(dataset.folder.resolve()),
        split_mode=dataset.split_mode,
        best_epoch=checkpoint.best.epoch,
        epochs=len(checkpoint.history),
        training_seconds=sum(record.seconds for record in checkpoint.history),
        device=result.device,
        config=checkpoint.config.to_dict(),
        validation=measure_part(dataset, result, "val"),
        test=measure_part(dataset, result, "test") if has_test else None,
        history=checkpoint.history,
    )
    write_json(run / METRICS_FILENAME, metrics.to_dict())
    if not zoo_entry(checkpoint.config.model).fitted:
        plot_learning_curves(checkpoint.history, checkpoint.config, run / CURVES_FILENAME)
    plotted_split = "test" if has_test else "val"
    split_metrics = metrics.test or metrics.validation
    if isinstance(split_metrics, ClassificationMetrics):
        clips = f"{split_metrics.clips} {plotted_split} clips ({dataset.split_mode} split)"
        title = f"{checkpoint.config.model}, {clips}"
        plot_confusion(split_metrics.confusion, dataset.labels, title, run / CONFUSION_FILENAME)
    return metrics


def measure_part(dataset: Dataset, result: FitResult, split: str) -> PartMetrics:
    """Metrics of the best epoch's network on the clips of one split."""
    is_classifier = zoo_entry(result.checkpoint.config.model).task == "classification"
    of_kind = measure_split if is_classifier else measure_reconstruction
    return of_kind(dataset, result, split)


def measure_split(dataset: Dataset, result: FitResult, split: str) -> ClassificationMetrics:
    """Metrics of the best epoch's network on the clips of one split, without augmentation."""
    if split == "val" and result.held_out is not None:
        rows, logits = result.held_out.rows, result.held_out.logits
    else:
        rows = dataset.rows(split)
        with torch.inference_mode():
            batches = _batches(dataset, result, split)
            logits = torch.cat([result.network(x) for x in batches]).numpy()
    clips, kind = dataset.clips.iloc[rows], result.checkpoint.score_kind
    speakers, scores = clips["speaker"].tolist(), to_scores(logits, kind)
    # Softmax keeps the order of the logits.
    predicted_matrix = predicted_label_mask(logits if kind == "softmax" else scores, kind)
    if kind == "softmax" and not dataset.is_multi_label:
        predicted = [dataset.labels[i] for i in predicted_matrix.argmax(1)]
        return compute_metrics(clips["label"].tolist(), predicted, speakers, dataset.labels)
    return compute_multi_label_metrics(
        dataset.label_matrix[rows], predicted_matrix, scores, speakers, dataset.labels
    )


def measure_reconstruction(
    dataset: Dataset, result: FitResult, split: str
) -> ReconstructionMetrics:
    """Metrics of the best epoch's autoencoder on the stored features of one split."""
    n_clips, errors = len(dataset.rows(split)), 0.0
    total, squares = torch.zeros(()), torch.zeros(())
    with torch.inference_mode():
        for batch in _batches(dataset, result, split):
            errors += float(reconstruction_error(result.network, batch).sum())
            expected = centred(result.network.normalise(batch)).double()
            total, squares = total + expected.sum(dim=0), squares + expected.square().sum(dim=0)
    variance = float((squares / n_clips - (total / n_clips).square()).mean())
    error = errors / n_clips
    return ReconstructionMetrics(n_clips, error, 1 - error / variance if variance > 0 else 0.0)


def _batches(dataset: Dataset, result: FitResult, split: str) -> Iterator[torch.Tensor]:
    """The features (batch, bins, frames) of one split, in order."""
    return read_features(dataset, result.checkpoint.config.features, dataset.rows(split))
