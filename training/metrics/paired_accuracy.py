"""Accuracy of an exported model beside that of its float model, on the same clips."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform
from earful.data.dataset.dataset import Dataset
from earful.models.bundle.decision import ScoreKind, predicted_label_mask
from earful.models.bundle.quantization import AccuracyPair
from earful.service.classifier import Classifier
from earful.training.metrics.classification import paired_p_value, wilson_interval

_BATCH = 256


@dataclass(frozen=True)
class PairedAccuracy(AccuracyPair):
    """A pair of accuracies with its statistics."""

    @classmethod
    def of(cls, before: NDArray[np.bool_], after: NDArray[np.bool_]) -> Self:
        """Of which clips (clips,) the float model and the exported one classify correctly."""
        return cls(
            clips=len(before),
            accuracy=float(after.mean()),
            float_accuracy=float(before.mean()),
            lost=int((before & ~after).sum()),
            won=int((after & ~before).sum()),
        )

    @property
    def accuracy_ci95(self) -> tuple[float, float]:
        """The 95 % interval of the exported model's accuracy (Wilson)."""
        return wilson_interval(round(self.accuracy * self.clips), self.clips)

    @property
    def lost_points(self) -> float:
        """Percentage points of accuracy that the export costs."""
        return 100 * (self.float_accuracy - self.accuracy)

    @property
    def p_value(self) -> float:
        """One-sided paired test of whether the export loses more clips than it wins."""
        return paired_p_value(self.lost, self.won)


def measure_paired_accuracy(
    float_model: Classifier, int8_model: Classifier, dataset: Dataset, split: str
) -> PairedAccuracy:
    """Run both models on the clips of one split, which has some."""
    rows = dataset.rows(split)
    return PairedAccuracy.of(
        _correct(float_model, dataset, rows), _correct(int8_model, dataset, rows)
    )


def _correct(model: Classifier, dataset: Dataset, rows: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a model predicts exactly the labels of each clip (clips,)."""

    def waveforms() -> Iterator[Waveform]:
        for start in range(0, len(rows), _BATCH):
            yield from dataset.waveforms(rows[start : start + _BATCH])

    scores = np.stack([p.best.scores for p in model.classify_stream(waveforms())])
    return are_correct(scores, model.metadata.score_kind, dataset.label_matrix[rows])


def are_correct(
    scores: NDArray[np.float32], score_kind: ScoreKind, label_matrix: NDArray[np.bool_]
) -> NDArray[np.bool_]:
    """Whether scores (clips, labels) predict exactly the labels (clips, labels) of each clip."""
    predicted = predicted_label_mask(scores, score_kind)
    correct: NDArray[np.bool_] = (predicted == label_matrix).all(axis=1)
    return correct
