"""Scores that mean what they say: temperature, calibration error, and when to answer "unknown"."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import expit, logsumexp, softmax

from earful.models.bundle.decision import ScoreKind, predicted_label_mask
from earful.training.config.train_config import Loss

FloatArray = NDArray[np.floating[Any]]
BINS = 15  # as in the paper below
# Below and above, a temperature no longer calibrates anything: the scores are all 1 or all alike.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
# Of the logarithm of the temperature: most networks need 0.5 to 2.
PRIOR_STD = 0.5
# Of the right answers on validation clips that rejection keeps.
KEPT_CORRECT_SHARE = 0.975
# A sure answer is never held back, however sure those on the validation clips were.
MAX_REJECTION_THRESHOLD = 0.9


@dataclass(frozen=True)
class Calibration:
    """What is measured on validation clips and written into the model file.

    Scores are softmax or sigmoid of logits over ``temperature``; where the best is below
    ``threshold``, "unknown" is the better answer. Calibration errors are before and after the
    temperature.
    """

    temperature: float
    threshold: float
    error_before: float
    error_after: float

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class CoveragePoint:
    """The share ``coverage`` of all clips scores ``threshold`` or more; ``accuracy`` is theirs."""

    threshold: float
    coverage: float
    accuracy: float


@dataclass(frozen=True)
class ReliabilityBin:
    """Clips whose scores lie together: how many, their mean score, and the share that is right."""

    clips: int
    score: float
    accuracy: float


def score_kind_for_loss(loss: Loss) -> ScoreKind:
    """What the logits of a network become that was trained with a loss."""
    return "sigmoid" if loss == "bce" else "softmax"


def to_scores(logits: FloatArray, kind: ScoreKind, temperature: float = 1.0) -> FloatArray:
    """Scores (clips, labels) of logits (clips, labels), as a released model gives them."""
    scaled = logits / temperature
    return np.asarray(expit(scaled) if kind == "sigmoid" else softmax(scaled, axis=1))


def calibrate(logits: FloatArray, label_matrix: NDArray[np.bool_], kind: ScoreKind) -> Calibration:
    """Fit temperature and threshold to logits (clips, labels) of clips that were not trained on.

    ``memberships`` (clips, labels) says which labels each clip has. A clip is answered rightly
    where all of its labels are said and no other is.
    """
    if kind == "sigmoid":
        temperature = fit_sigmoid_temperature(logits, label_matrix)
    else:
        temperature = fit_temperature(logits, label_matrix.argmax(1))
    unscaled, scores = to_scores(logits, kind), to_scores(logits, kind, temperature)
    correct = (predicted_label_mask(scores, kind) == label_matrix).all(axis=1)
    return Calibration(
        temperature,
        rejection_threshold(scores.max(1), correct),
        calibration_error(*scores_with_correctness(unscaled, label_matrix, kind)),
        calibration_error(*scores_with_correctness(scores, label_matrix, kind)),
    )


def scores_with_correctness(
    scores: FloatArray, label_matrix: NDArray[np.bool_], kind: ScoreKind
) -> tuple[FloatArray, NDArray[np.bool_]]:
    """The scores whose calibration counts, and whether each was right; one axis.

    Of softmax the winning one of each clip; of sigmoid all, since each is a probability by itself.
    """
    if kind == "sigmoid":
        return scores.ravel(), label_matrix.ravel()
    return scores.max(1), label_matrix[np.arange(len(scores)), scores.argmax(1)]


def fit_temperature(logits: FloatArray, targets: NDArray[np.int64]) -> float:
    """The temperature of the least cross-entropy (Guo et al., arXiv:1706.04599, section 4.2).

    ``targets`` (clips,) are positions of labels.
    """
    logits = logits.astype(np.float64)
    rows = np.arange(len(targets))

    def cross_entropy(temperature: float) -> float:
        scaled = logits / temperature
        return float(np.sum(logsumexp(scaled, axis=1) - scaled[rows, targets]))

    return _minimize_with_prior(cross_entropy)


def fit_sigmoid_temperature(logits: FloatArray, label_matrix: NDArray[np.bool_]) -> float:
    """The temperature of the least binary cross-entropy over all clips and labels.

    It is summed over clips and averaged over labels, so that the prior weighs as much as it does
    beside softmax.
    """
    # The loss of a label is log(1 + exp(-x)) where the clip has it, log(1 + exp(x)) where not.
    signed = np.where(label_matrix, -1.0, 1.0) * logits.astype(np.float64)

    def cross_entropy(temperature: float) -> float:
        return float(np.logaddexp(0, signed / temperature).mean(axis=1).sum())

    return _minimize_with_prior(cross_entropy)


def _minimize_with_prior(cross_entropy: Callable[[float], float]) -> float:
    """The temperature of the least cross-entropy, held near 1 by a prior.

    Clips that were all answered rightly would be fitted best by scores without any doubt, and do
    not prove that every clip will be.
    """

    def cost(log_temperature: float) -> float:
        prior = (log_temperature / PRIOR_STD) ** 2 / 2
        return float(cross_entropy(float(np.exp(log_temperature))) + prior)

    bounds = (np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE))
    return float(np.exp(minimize_scalar(cost, bounds=bounds, method="bounded").x))


def calibration_error(scores: FloatArray, correct: NDArray[np.bool_]) -> float:
    """Expected calibration error: how far scores are from the share that is right, over 15 bins.

    ``scores`` and ``right`` are those of ``judged_scores``. arXiv:1706.04599, equation 3.
    """
    bins = _bins(scores)
    gaps = np.bincount(bins, weights=scores - correct, minlength=BINS)
    return float(np.abs(gaps).sum() / len(scores))


def reliability(scores: FloatArray, correct: NDArray[np.bool_]) -> list[ReliabilityBin]:
    """The bins of ``calibration_error`` that hold clips, from the lowest scores to the highest."""
    bins = _bins(scores)
    return [
        ReliabilityBin(int(in_bin.sum()), float(scores[in_bin].mean()), float(correct[in_bin].mean()))
        for in_bin in (bins == n for n in range(BINS))
        if in_bin.any()
    ]


def _bins(scores: FloatArray) -> NDArray[np.int64]:
    return np.minimum((scores * BINS).astype(np.int64), BINS - 1)


def rejection_threshold(scores: FloatArray, correct: NDArray[np.bool_]) -> float:
    """The score that 97.5 % of the right answers reach, at most 0.9; 0 when none is right."""
    if not correct.any():
        return 0.0
    return min(MAX_REJECTION_THRESHOLD, float(np.quantile(scores[correct], 1 - KEPT_CORRECT_SHARE)))


def coverage_curve(scores: FloatArray, correct: Sequence[bool]) -> list[CoveragePoint]:
    """Accuracy of the surest answers, from all of them to the one surest; a point a score."""
    order = np.argsort(-scores, kind="stable")
    accuracy = np.cumsum(np.asarray(correct)[order]) / np.arange(1, len(order) + 1)
    ordered = scores[order]
    # Equal scores are kept or rejected together.
    cut_points = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))[::-1]
    return [
        CoveragePoint(float(ordered[i]), (int(i) + 1) / len(order), float(accuracy[i]))
        for i in cut_points
    ]


def at_threshold(scores: FloatArray, correct: Sequence[bool], threshold: float) -> CoveragePoint:
    """Coverage and accuracy when what scores below ``threshold`` is not answered."""
    kept = scores >= threshold
    accuracy = float(np.asarray(correct)[kept].mean()) if kept.any() else 1.0
    return CoveragePoint(threshold, float(kept.mean()), accuracy)
