"""Predictions of a run's best epoch on one split: errors, confidence, noise robustness."""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from earful.data.dataset.dataset import Dataset
from earful.data.labels.multilabel import join_labels, normalise_label
from earful.models.bundle.decision import ScoreKind, predicted_label_mask
from earful.service.classifier import Classifier
from earful.training.evaluation.confidence import ConfidenceReport, compute_confidence
from earful.training.evaluation.noise_robustness import (
    LabelledWaveform,
    NoisePoint,
    measure_noise_robustness,
    points_by_kind,
)
from earful.training.export.export import export
from earful.training.loaders.loader import stored_features
from earful.training.metrics.calibration import to_scores
from earful.training.reports.clip_media import clip_waveform
from earful.training.reports.html_clips import ClipMedia, waveform_media
from earful.training.reports.run_report.read_run import TrainingRun
from earful.training.runs.metrics_file import PartMetrics
from earful.training.runs.run_metrics import measure_part
from earful.training.trainer.checkpoint import rebuild_network
from earful.training.trainer.objectives import predict_logits
from earful.training.trainer.trainer import FitResult

# Larger splits are sampled: each clip is classified with 30 noise types and levels.
MAX_NOISE_CLIPS = 300
_SEED = 42


@dataclass(frozen=True)
class ClipPrediction:
    """A clip with its true and predicted label, the confidence and its media."""

    filename: str
    speaker: str
    label: str
    predicted: str
    score: float
    media: ClipMedia


@dataclass(frozen=True)
class SplitPredictions:
    """Predictions on all clips of one split, with calibrated scores.

    ``rows`` is (clips,); ``expected``, ``predicted`` and ``scores`` are (clips, labels).
    """

    split: str
    score_kind: ScoreKind
    rows: NDArray[np.int64]
    expected: NDArray[np.bool_]
    predicted: NDArray[np.bool_]
    scores: NDArray[np.float64]

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Which clips (clips,) have exactly their labels predicted."""
        return np.asarray((self.expected == self.predicted).all(axis=1))

    @property
    def confidence(self) -> NDArray[np.float64]:
        """Confidence (clips,): the lowest score among the predicted labels."""
        return np.asarray(np.where(self.predicted, self.scores, np.inf).min(axis=1))

    def predicted_label(self, i: int, labels: Sequence[str]) -> str:
        """The predicted label of clip ``i``, or its predicted labels as one text."""
        return join_labels(compress(labels, self.predicted[i].tolist()))

    @property
    def accuracy(self) -> float:
        return float(self.correct.mean())


@dataclass(frozen=True)
class NoiseResults:
    """Accuracies with noise, and the accuracy of the same clips without."""

    points: list[NoisePoint]
    clean_accuracy: float
    clips: int
    total_clips: int

    @property
    def rows(self) -> list[tuple[str, list[NoisePoint]]]:
        """The points of each noise type, in the order of the test."""
        return points_by_kind(self.points)


def measure_validation(run: TrainingRun, dataset: Dataset) -> PartMetrics:
    """Validation metrics of the best epoch so far."""
    return measure_part(dataset, FitResult(rebuild_network(run.best), run.best, "cpu", 0), "val")


def predict_split(run: TrainingRun, dataset: Dataset, split: str) -> SplitPredictions:
    """Classify the clips of one split with the best epoch."""
    batches = stored_features(dataset, run.best.config, split, torch.device("cpu"))
    logits, expected = predict_logits(rebuild_network(run.best), batches)
    score_kind, calibration = run.best.score_kind, run.best.calibration
    temperature = calibration.temperature if calibration else 1.0
    scores = np.asarray(to_scores(logits.astype(np.float64), score_kind, temperature), np.float64)
    return SplitPredictions(
        split=split,
        score_kind=score_kind,
        rows=dataset.rows(split),
        expected=expected,
        predicted=predicted_label_mask(scores, score_kind),
        scores=scores,
    )


def split_confidence(predictions: SplitPredictions, threshold: float) -> ConfidenceReport:
    """Calibration and coverage of the predictions, and the operating point at ``threshold``."""
    return compute_confidence(
        predictions.scores,
        predictions.expected,
        predictions.correct.tolist(),
        predictions.score_kind,
        threshold,
    )


def select_clips(
    predictions: SplitPredictions, dataset: Dataset, clips: int, max_media_bytes: int
) -> tuple[list[ClipPrediction], list[ClipPrediction]]:
    """The most confident errors and the least confident other clips, ``clips`` of each.

    Media are added while they fit into ``max_media_bytes``, errors first.
    """
    correct, confidence = predictions.correct, predictions.confidence
    order = np.argsort(-confidence, kind="stable").tolist()
    mistakes = [i for i in order if not correct[i]][:clips]
    mistake_set = set(mistakes)
    least_confident = [i for i in order[::-1] if i not in mistake_set][:clips]
    media_budget = _MediaBudget(dataset, max_media_bytes)

    def clip_predictions(indices: list[int]) -> list[ClipPrediction]:
        return [
            _clip_prediction(predictions, dataset, i, confidence[i], media_budget) for i in indices
        ]

    return clip_predictions(mistakes), clip_predictions(least_confident)


def measure_in_noise(
    run: TrainingRun, dataset: Dataset, split: str, progress: Callable[[int, int], None]
) -> NoiseResults:
    """Accuracy of the exported model with synthetic noise, as in ``earful evaluate --noise-test``.

    Raises:
        ExportError: the run cannot be exported.
        NoiseError: babble needs clips of two speakers or more.
    """
    rows = dataset.rows(split)
    total_clips = len(rows)
    if total_clips > MAX_NOISE_CLIPS:
        rows = np.sort(np.random.default_rng(_SEED).choice(rows, MAX_NOISE_CLIPS, replace=False))
    waveforms, clips = dataset.array("waveforms"), dataset.clips
    labelled_waveforms = [
        LabelledWaveform(
            waveform=np.array(clip_waveform(waveforms, dataset, int(row))),
            label=clips["label"].iloc[row],
            speaker=clips["speaker"].iloc[row],
        )
        for row in rows
    ]
    with tempfile.TemporaryDirectory() as folder:
        classifier = Classifier.open(export(run.folder, Path(folder) / "model.onnx").path)
        results = classifier.classify_stream(clip.waveform for clip in labelled_waveforms)
        correct = [
            normalise_label(result.label) == clip.label
            for result, clip in zip(results, labelled_waveforms, strict=True)
        ]
        points = measure_noise_robustness(classifier, labelled_waveforms, progress=progress)
    return NoiseResults(points, float(np.mean(correct)), len(rows), total_clips)


class _MediaBudget:
    """Media of clips up to a total size; beyond it spectrograms only, then nothing."""

    def __init__(self, dataset: Dataset, max_media_bytes: int) -> None:
        self._dataset, self._bytes_left = dataset, max_media_bytes
        self._waveforms = dataset.array("waveforms")

    def load(self, row: int) -> ClipMedia:
        waveform = clip_waveform(self._waveforms, self._dataset, row)
        full = waveform_media(waveform, self._dataset.features.sample_rate_hz)
        without_audio = replace(
            full, audio="", missing="no audio: size limit of the page reached (--audio-mb)"
        )
        for media in (full, without_audio):
            size = len(media.audio) + len(media.spectrogram)
            if size <= self._bytes_left:
                self._bytes_left -= size
                return media
        return ClipMedia(
            missing="no audio or spectrogram: size limit of the page reached (--audio-mb)"
        )


def _clip_prediction(
    predictions: SplitPredictions,
    dataset: Dataset,
    i: int,
    confidence: float,
    media_budget: _MediaBudget,
) -> ClipPrediction:
    row = int(predictions.rows[i])
    clip = dataset.clips.iloc[row]
    return ClipPrediction(
        filename=clip["filename"],
        speaker=clip["speaker"],
        label=clip["label"],
        predicted=predictions.predicted_label(i, dataset.labels),
        score=float(confidence),
        media=media_budget.load(row),
    )
