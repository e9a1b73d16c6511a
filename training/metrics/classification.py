"""Accuracy, F1 and confusion matrix from true and predicted labels."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from earful.data.text.json_input import STRICT

FloatArray = NDArray[np.float64]
MAX_LISTED_SPEAKERS = 20
# Of a label or a speaker: ``clips`` and shares, by their names.
Figures = dict[str, int | float]
_LABEL_FIGURES, _SPEAKER_FIGURES = {"clips", "precision", "recall", "f1"}, {"clips", "accuracy"}


@dataclass(frozen=True)
class ClassificationMetrics:
    """Metrics of a classifier, as fractions. Rows of ``confusion`` are the true labels.

    ``per_label`` has clips, precision, recall and f1 of each label, ``per_speaker`` clips and
    accuracy of each known speaker.
    """

    __pydantic_config__ = STRICT | {"extra": "ignore"}

    clips: int
    accuracy: float
    accuracy_ci95: tuple[float, float]
    macro_f1: float
    per_label: dict[str, Figures]
    per_speaker: dict[str, Figures]
    confusion: list[list[int]]
    labels: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """The keys of ``earful evaluate --json``, in its order."""
        lists = {"accuracy_ci95": list(self.accuracy_ci95), "labels": list(self.labels)}
        return asdict(self) | lists

    def __post_init__(self) -> None:
        """Refuse, of a file, figures that cannot be, and tables that are not of these labels.

        Raises:
            ValueError: they are not.
        """
        if self.clips < 1:
            raise ValueError(f"clips must be 1 or more, found {self.clips}")
        for name in ("accuracy", "macro_f1"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} must be from 0 to 1, found {getattr(self, name)}")
        n_labels, rows = len(self.labels), self.confusion
        if len(rows) != n_labels or any(len(row) != n_labels for row in rows):
            raise ValueError(f"the confusion matrix is not of {n_labels} labels")
        if self.per_label.keys() != set(self.labels):
            raise ValueError("per_label is not of the labels")
        for label, row in self.per_label.items():
            _check_figures(f"per_label of {label!r}", row, _LABEL_FIGURES)
        for speaker, row in self.per_speaker.items():
            _check_figures(f"per_speaker of {speaker!r}", row, _SPEAKER_FIGURES)

    def text(self) -> str:
        """A text of the metrics over all clips."""
        low, high = (100 * bound for bound in self.accuracy_ci95)
        return (
            f"{self.clips} clips: accuracy {100 * self.accuracy:.2f} % "
            f"(95 % interval {low:.1f} to {high:.1f}), macro F1 {self.macro_f1:.4f}"
        )

    def speaker_lines(self, list_all: bool) -> list[str]:
        """A line per speaker with its 95 % interval, worst first; 20 unless ``list_all``."""
        rows = sorted(self.per_speaker.items(), key=lambda item: item[1]["accuracy"])
        lines = []
        for name, row in rows if list_all else rows[:MAX_LISTED_SPEAKERS]:
            n_clips, accuracy = int(row["clips"]), row["accuracy"]
            low, high = wilson_interval(round(accuracy * n_clips), n_clips)
            lines.append(
                f"  speaker {name}: {100 * accuracy:.1f} % of {n_clips} "
                f"({100 * low:.1f} to {100 * high:.1f})"
            )
        if len(rows) > len(lines):
            lines.append(
                f"  and {len(rows) - len(lines)} better speakers; --by speaker lists them all"
            )
        if list_all and rows:
            accuracies = [row["accuracy"] for _, row in rows]
            lines.append(
                f"  {len(rows)} speakers: mean {100 * float(np.mean(accuracies)):.2f} %, "
                f"minimum {100 * accuracies[0]:.2f} % ({rows[0][0]})"
            )
        return lines

    def label_lines(self) -> list[str]:
        """A line per label, from the lowest F1 to the highest."""
        rows = sorted(self.per_label.items(), key=lambda item: item[1]["f1"])
        return [
            f"  label {name}: F1 {row['f1']:.4f}, recall {100 * row['recall']:.1f} % of "
            f"{row['clips']:.0f}, precision {100 * row['precision']:.1f} %"
            for name, row in rows
        ]


def _check_figures(what: str, row: Figures, names: set[str]) -> None:
    if not row.keys() >= names:
        raise ValueError(f"{what:.100} must have {', '.join(sorted(names))}")
    if row["clips"] < 0 or not all(0 <= row[name] <= 1 for name in names - {"clips"}):
        raise ValueError(f"{what:.100} must have shares from 0 to 1")


def compute_metrics(
    expected: Sequence[str],
    predicted: Sequence[str],
    speakers: Sequence[str],
    labels: Sequence[str],
) -> ClassificationMetrics:
    """Metrics of one clip or more, from labels and speakers (clips,); ``labels`` are all labels.

    ``macro_f1`` is the mean over the labels that occur in ``expected`` or ``predicted``.
    """
    precision, recall, f1, support = precision_recall_fscore_support(
        expected, predicted, labels=list(labels), zero_division=0.0
    )
    confusion = confusion_matrix(expected, predicted, labels=list(labels))
    occurs = (confusion.sum(axis=0) + confusion.sum(axis=1)) > 0
    n_correct = int(np.trace(confusion))
    return ClassificationMetrics(
        clips=len(expected),
        accuracy=n_correct / len(expected),
        accuracy_ci95=wilson_interval(n_correct, len(expected)),
        macro_f1=float(f1[occurs].mean()),
        per_label=per_label_metrics(labels, support, precision, recall, f1),
        per_speaker=per_speaker_metrics(np.array(expected) == np.array(predicted), speakers),
        confusion=confusion.tolist(),
        labels=tuple(labels),
    )


def top_confusions(
    confusion: Sequence[Sequence[int]], labels: Sequence[str], max_items: int
) -> list[tuple[int, str, str]]:
    """The most frequent confusions: (count, true label, predicted label)."""
    confusions = [
        (count, true, predicted)
        for true, row in zip(labels, confusion, strict=True)
        for predicted, count in zip(labels, row, strict=True)
        if count and true != predicted
    ]
    return sorted(confusions, key=lambda item: -item[0])[:max_items]


def paired_p_value(lost: int, won: int) -> float:
    """One-sided exact McNemar test: P(X >= lost) for X ~ Binomial(lost + won, 1/2)."""
    if lost + won == 0:
        return 1.0
    return float(binomtest(lost, lost + won, 0.5, alternative="greater").pvalue)


def wilson_interval(n_correct: int, total: int) -> tuple[float, float]:
    """95 % interval of a proportion (Wilson, 1927), valid also for few clips and at 100 %."""
    low, high = binomtest(n_correct, total).proportion_ci(0.95, method="wilson")
    return float(low), float(high)


def per_label_metrics(
    labels: Sequence[str],
    clips: FloatArray,
    precision: FloatArray,
    recall: FloatArray,
    f1: FloatArray,
) -> dict[str, Figures]:
    """``ClassificationMetrics.per_label`` from arrays (labels,)."""
    return {
        label: {
            "clips": int(clips[i]),
            "precision": float(precision[i]),
            "recall": float(recall[i]),
            "f1": float(f1[i]),
        }
        for i, label in enumerate(labels)
    }


def per_speaker_metrics(correct: NDArray[np.bool_], speakers: Sequence[str]) -> dict[str, Figures]:
    """``ClassificationMetrics.per_speaker`` from ``correct`` and ``speakers`` (clips,)."""
    frame = pd.DataFrame({"speaker": speakers, "correct": correct})
    known = frame[frame["speaker"] != ""].groupby("speaker")["correct"]
    return {
        str(speaker): {"clips": len(correct), "accuracy": float(correct.mean())}
        for speaker, correct in known
    }
