"""Accuracy and its company for clips that have several labels, or answers that do."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from earful.training.metrics.classification import (
    ClassificationMetrics,
    MultiLabelMetrics,
    per_label_metrics,
    per_speaker_metrics,
    wilson_interval,
)

LabelMatrix = NDArray[np.bool_]


def compute_multi_label_metrics(
    expected: LabelMatrix,
    predicted: LabelMatrix,
    scores: NDArray[np.floating],
    speakers: Sequence[str],
    labels: Sequence[str],
) -> ClassificationMetrics:
    """Metrics of one clip or more: which labels each has, which were said, and their scores.

    ``truth``, ``said`` and ``scores`` are (clips, labels). A clip is right where all of its labels
    were said and no other. F1 and its parts are of each label's own yes or no; ``macro_f1`` is the
    mean over the labels that occur. ``confusion`` counts on its diagonal how often a label was
    found, and beside it the clips in which the label of the row was missed and that of the column
    wrongly said: with one label a clip, the usual matrix.
    """
    precision, recall, f1, support = precision_recall_fscore_support(expected, predicted, zero_division=0.0)
    correct = (expected == predicted).all(axis=1)
    n_correct = int(correct.sum())
    occurs = expected.any(axis=0) | predicted.any(axis=0)
    return ClassificationMetrics(
        clips=len(expected),
        accuracy=n_correct / len(expected),
        accuracy_ci95=wilson_interval(n_correct, len(expected)),
        macro_f1=float(f1[occurs].mean()),
        per_label=per_label_metrics(labels, support, precision, recall, f1),
        per_speaker=per_speaker_metrics(correct, speakers),
        confusion=multi_label_confusion(expected, predicted).tolist(),
        labels=tuple(labels),
        multi_label_metrics=MultiLabelMetrics(float((expected != predicted).mean()), _mean_average_precision(expected, scores)),
    )


def multi_label_confusion(expected: LabelMatrix, predicted: LabelMatrix) -> NDArray[np.int64]:
    """The confusion matrix (labels, labels) of ``compute_set_metrics``."""
    false_negative, false_positive = (expected & ~predicted).astype(np.int64), (predicted & ~expected).astype(np.int64)
    return false_negative.T @ false_positive + np.diag((expected & predicted).sum(axis=0))


def _mean_average_precision(expected: LabelMatrix, scores: NDArray[np.floating]) -> float:
    """The mean over labels that occur of how well their scores rank clips that have them."""
    precisions = [
        average_precision_score(expected[:, i], scores[:, i])
        for i in np.flatnonzero(expected.any(axis=0))
    ]
    return float(np.mean(precisions))
