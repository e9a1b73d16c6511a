"""Accuracy and its company for clips that have several labels, or answers that do."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from earful.training.metrics.classification import (
    Metrics,
    SetFigures,
    label_figures,
    speaker_figures,
    wilson_interval,
)

Flags = NDArray[np.bool_]


def compute_set_metrics(
    truth: Flags,
    said: Flags,
    scores: NDArray[np.floating],
    speakers: Sequence[str],
    labels: Sequence[str],
) -> Metrics:
    """Metrics of one clip or more: which labels each has, which were said, and their scores.

    ``truth``, ``said`` and ``scores`` are (clips, labels). A clip is right where all of its labels
    were said and no other. F1 and its parts are of each label's own yes or no; ``macro_f1`` is the
    mean over the labels that occur. ``confusion`` counts on its diagonal how often a label was
    found, and beside it the clips in which the label of the row was missed and that of the column
    wrongly said: with one label a clip, the usual matrix.
    """
    precision, recall, f1, support = precision_recall_fscore_support(truth, said, zero_division=0.0)
    whole = (truth == said).all(axis=1)
    right = int(whole.sum())
    occurs = truth.any(axis=0) | said.any(axis=0)
    return Metrics(
        clips=len(truth),
        accuracy=right / len(truth),
        accuracy_ci95=wilson_interval(right, len(truth)),
        macro_f1=float(f1[occurs].mean()),
        per_label=label_figures(labels, support, precision, recall, f1),
        per_speaker=speaker_figures(whole, speakers),
        confusion=set_confusion(truth, said).tolist(),
        labels=tuple(labels),
        of_sets=SetFigures(float((truth != said).mean()), _mean_average_precision(truth, scores)),
    )


def set_confusion(truth: Flags, said: Flags) -> NDArray[np.int64]:
    """The confusion matrix (labels, labels) of ``compute_set_metrics``."""
    missed, wrong = (truth & ~said).astype(np.int64), (said & ~truth).astype(np.int64)
    return missed.T @ wrong + np.diag((truth & said).sum(axis=0))


def _mean_average_precision(truth: Flags, scores: NDArray[np.floating]) -> float:
    """The mean over labels that occur of how well their scores rank clips that have them."""
    found = [
        average_precision_score(truth[:, i], scores[:, i])
        for i in np.flatnonzero(truth.any(axis=0))
    ]
    return float(np.mean(found))
