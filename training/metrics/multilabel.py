"""Metrics of multi-label predictions."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from earful.training.metrics.classification import (
    ClassificationMetrics,
    per_label_metrics,
    per_speaker_metrics,
    wilson_interval,
)

LabelMatrix = NDArray[np.bool_]


@dataclass(frozen=True)
class MultiLabelMetrics(ClassificationMetrics):
    """Metrics of a classifier of several labels a clip.

    ``hamming_loss`` is the share of all (clip, label) pairs that are predicted incorrectly;
    ``mean_average_precision`` the mean of the labels' average precision.
    """

    hamming_loss: float
    mean_average_precision: float

    def text(self) -> str:
        return (
            f"{super().text()}\n  a clip is correct if all its labels are predicted and no other; "
            f"Hamming loss {100 * self.hamming_loss:.2f} %, mean average precision "
            f"{self.mean_average_precision:.4f}"
        )


def compute_multi_label_metrics(
    expected: LabelMatrix,
    predicted: LabelMatrix,
    scores: NDArray[np.floating],
    speakers: Sequence[str],
    labels: Sequence[str],
) -> MultiLabelMetrics:
    """Metrics of one clip or more; ``expected``, ``predicted`` and ``scores`` are (clips, labels).

    A clip is correct if all its labels are predicted and no other. Precision, recall and F1 are
    those of each label by itself; ``macro_f1`` is the mean over the labels that occur.
    ``confusion`` is that of ``multi_label_confusion``.
    """
    precision, recall, f1, support = precision_recall_fscore_support(
        expected, predicted, zero_division=0.0
    )
    correct = (expected == predicted).all(axis=1)
    n_correct = int(correct.sum())
    occurs = expected.any(axis=0) | predicted.any(axis=0)
    return MultiLabelMetrics(
        clips=len(expected),
        accuracy=n_correct / len(expected),
        accuracy_ci95=wilson_interval(n_correct, len(expected)),
        macro_f1=float(f1[occurs].mean()),
        per_label=per_label_metrics(labels, support, precision, recall, f1),
        per_speaker=per_speaker_metrics(correct, speakers),
        confusion=multi_label_confusion(expected, predicted).tolist(),
        labels=tuple(labels),
        hamming_loss=float((expected != predicted).mean()),
        mean_average_precision=_mean_average_precision(expected, scores),
    )


def multi_label_confusion(expected: LabelMatrix, predicted: LabelMatrix) -> NDArray[np.int64]:
    """Confusion matrix (labels, labels) of label matrices (clips, labels).

    The diagonal counts true positives; entry (row, column) counts the clips in which label ``row``
    was missed and label ``column`` wrongly predicted. With one label per clip it is the usual
    confusion matrix.
    """
    missed = (expected & ~predicted).astype(np.int64)
    wrongly_predicted = (predicted & ~expected).astype(np.int64)
    return missed.T @ wrongly_predicted + np.diag((expected & predicted).sum(axis=0))


def _mean_average_precision(expected: LabelMatrix, scores: NDArray[np.floating]) -> float:
    """The mean average precision over the labels that occur."""
    precisions = [
        average_precision_score(expected[:, i], scores[:, i])
        for i in np.flatnonzero(expected.any(axis=0))
    ]
    return float(np.mean(precisions))
