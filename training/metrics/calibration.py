"""Calibration of scores: temperature, expected calibration error, and the rejection threshold."""

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
BINS = 15  # as in arXiv:1706.04599
# Outside this range all scores are 1, or all are equal.
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
# Standard deviation of the log temperature: most networks need 0.5 to 2.
PRIOR_STD = 0.5
# Share of the correct predictions on validation clips that are not rejected.
KEPT_CORRECT_SHARE = 0.975
# Higher scores are never rejected, however high those of the validation clips are.
MAX_REJECTION_THRESHOLD = 0.9


@dataclass(frozen=True)
class Calibration:
    """The calibration on validation clips, which is written into the model file.

    Scores are softmax or sigmoid of logits over ``temperature``. A clip whose best score is below
    ``threshold`` is labelled ``unknown`` with --reject. ``error_before`` and ``error_after`` are
    the calibration errors without and with the temperature.
    """

    temperature: float
    threshold: float
    error_before: float
    error_after: float

    def to_dict(self) -> dict[str, float]:
        return asdict(self)


@dataclass(frozen=True)
class CoveragePoint:
    """Share of the clips that score ``threshold`` or more, and their accuracy; both 0 to 1."""

    threshold: float
    coverage: float
    accuracy: float


@dataclass(frozen=True)
class ReliabilityBin:
    """A bin of scores: number of clips, mean score, accuracy."""

    clips: int
    score: float
    accuracy: float


def score_kind_for_loss(loss: Loss) -> ScoreKind:
    """Whether a network trained with ``loss`` has softmax or sigmoid scores."""
    return "sigmoid" if loss == "bce" else "softmax"


def to_scores(logits: FloatArray, kind: ScoreKind, temperature: float = 1.0) -> FloatArray:
    """Scores (clips, labels) of logits (clips, labels), as a released model computes them."""
    scaled = logits / temperature
    return np.asarray(expit(scaled) if kind == "sigmoid" else softmax(scaled, axis=1))


def calibrate(logits: FloatArray, label_matrix: NDArray[np.bool_], kind: ScoreKind) -> Calibration:
    """Fit temperature and threshold to logits (clips, labels) of held-out clips.

    ``label_matrix`` (clips, labels) has the labels of each clip. A prediction is correct if it has
    all labels of the clip and no other.
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
    """The scores to calibrate and whether each is correct, both (scores,).

    With softmax the best score of each clip; with sigmoid all, since each is a probability.
    """
    if kind == "sigmoid":
        return scores.ravel(), label_matrix.ravel()
    return scores.max(1), label_matrix[np.arange(len(scores)), scores.argmax(1)]


def fit_temperature(logits: FloatArray, targets: NDArray[np.int64]) -> float:
    """The temperature with the lowest cross-entropy (Guo et al., arXiv:1706.04599, section 4.2).

    Logits (clips, labels); ``targets`` (clips,) are label positions.
    """
    logits = logits.astype(np.float64)
    rows = np.arange(len(targets))

    def cross_entropy(temperature: float) -> float:
        scaled = logits / temperature
        return float(np.sum(logsumexp(scaled, axis=1) - scaled[rows, targets]))

    return _minimize_with_prior(cross_entropy)


def fit_sigmoid_temperature(logits: FloatArray, label_matrix: NDArray[np.bool_]) -> float:
    """The temperature with the lowest binary cross-entropy of logits (clips, labels).

    Summed over clips and averaged over labels, so that the prior has the same weight as with
    softmax.
    """
    # The loss of a label is log(1 + exp(-x)) if the clip has it, else log(1 + exp(x)).
    signed = np.where(label_matrix, -1.0, 1.0) * logits.astype(np.float64)

    def cross_entropy(temperature: float) -> float:
        return float(np.logaddexp(0, signed / temperature).mean(axis=1).sum())

    return _minimize_with_prior(cross_entropy)


def _minimize_with_prior(cross_entropy: Callable[[float], float]) -> float:
    """The temperature with the lowest cross-entropy, with a log-normal prior around 1.

    Without the prior, validation clips that are all predicted correctly would be fitted best by
    scores of 1.
    """

    def cost(log_temperature: float) -> float:
        prior = (log_temperature / PRIOR_STD) ** 2 / 2
        return float(cross_entropy(float(np.exp(log_temperature))) + prior)

    bounds = (np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE))
    return float(np.exp(minimize_scalar(cost, bounds=bounds, method="bounded").x))


def calibration_error(scores: FloatArray, correct: NDArray[np.bool_]) -> float:
    """Expected calibration error over 15 bins (arXiv:1706.04599, equation 3).

    ``scores`` and ``correct`` (scores,) are those of ``scores_with_correctness``.
    """
    bins = _bins(scores)
    gaps = np.bincount(bins, weights=scores - correct, minlength=BINS)
    return float(np.abs(gaps).sum() / len(scores))


def reliability(scores: FloatArray, correct: NDArray[np.bool_]) -> list[ReliabilityBin]:
    """The non-empty bins of ``calibration_error``, from the lowest scores to the highest."""
    bins = _bins(scores)
    return [
        ReliabilityBin(
            int(in_bin.sum()), float(scores[in_bin].mean()), float(correct[in_bin].mean())
        )
        for in_bin in (bins == n for n in range(BINS))
        if in_bin.any()
    ]


def _bins(scores: FloatArray) -> NDArray[np.int64]:
    return np.minimum((scores * BINS).astype(np.int64), BINS - 1)


def rejection_threshold(scores: FloatArray, correct: NDArray[np.bool_]) -> float:
    """The score that 97.5 % of the correct predictions reach, at most 0.9; 0 if none is correct."""
    if not correct.any():
        return 0.0
    return min(MAX_REJECTION_THRESHOLD, float(np.quantile(scores[correct], 1 - KEPT_CORRECT_SHARE)))


def format_threshold(threshold: float) -> str:
    """A threshold with two digits of its distance to 1, where scores of a sure model lie."""
    for digits in range(2, 7):
        if 1 - threshold >= 10.0 ** (1 - digits):
            return f"{threshold:.{digits}f}"
    return f"{threshold:.7f}"


def coverage_curve(scores: FloatArray, correct: Sequence[bool]) -> list[CoveragePoint]:
    """Accuracy over coverage, from all clips to the most confident; one point per score."""
    order = np.argsort(-scores, kind="stable")
    accuracy = np.cumsum(np.asarray(correct)[order]) / np.arange(1, len(order) + 1)
    ordered = scores[order]
    # Clips with equal scores are kept or rejected together.
    cut_points = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))[::-1]
    return [
        CoveragePoint(float(ordered[i]), (int(i) + 1) / len(order), float(accuracy[i]))
        for i in cut_points
    ]


def at_threshold(scores: FloatArray, correct: Sequence[bool], threshold: float) -> CoveragePoint:
    """Coverage and accuracy when clips below ``threshold`` are rejected; accuracy 1 if all are."""
    kept = scores >= threshold
    accuracy = float(np.asarray(correct)[kept].mean()) if kept.any() else 1.0
    return CoveragePoint(threshold, float(kept.mean()), accuracy)
