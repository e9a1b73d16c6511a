"""Calibration recovers a known temperature; calibration error, threshold and coverage curve."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax

from earful.training.metrics.calibration import (
    at_threshold,
    calibrate,
    calibration_error,
    coverage_curve,
    fit_temperature,
    rejection_threshold,
    to_scores,
)


def calibrated_logits(n_clips: int = 20_000) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Logits (clips, 5) and targets drawn from their own softmax: calibrated by construction."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (n_clips, 5))
    cumulative = softmax(logits, axis=1).cumsum(1)
    return logits, (rng.random((n_clips, 1)) > cumulative).sum(1).astype(np.int64)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_known_temperature_is_recovered(temperature: float) -> None:
    logits, targets = calibrated_logits()
    assert fit_temperature(logits * temperature, targets) == pytest.approx(temperature, rel=0.05)


def test_calibration_corrects_overconfident_scores() -> None:
    logits, targets = calibrated_logits()
    calibration = calibrate(logits * 3, np.eye(5, dtype=bool)[targets], "softmax")
    assert calibration.error_before > 0.1
    assert calibration.error_after < 0.02


def calibrated_multi_label(n_clips: int = 10_000) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Logits (clips, 4) and a label matrix drawn from their sigmoid, label by label."""
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (n_clips, 4))
    return logits, rng.random((n_clips, 4)) < expit(logits)


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_known_multi_label_temperature_is_recovered(temperature: float) -> None:
    logits, label_matrix = calibrated_multi_label()
    calibration = calibrate(logits * temperature, label_matrix, "sigmoid")
    assert calibration.temperature == pytest.approx(temperature, rel=0.05)
    assert calibration.error_after < 0.02
    assert calibration.error_after <= calibration.error_before + 0.002


def test_multi_label_threshold_counts_clips_with_all_labels_correct() -> None:
    logits = np.array([[8.0, 8.0, -8.0], [2.0, -8.0, -8.0], [1.0, 8.0, -8.0]])
    # The last clip has a false positive.
    label_matrix = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0]], bool)
    calibration = calibrate(logits, label_matrix, "sigmoid")
    best = to_scores(logits, "sigmoid", calibration.temperature).max(1)
    assert calibration.threshold == pytest.approx(min(0.9, float(np.quantile(best[:2], 0.025))))


@pytest.mark.parametrize("scale", [3.0, 30.0])
def test_few_all_correct_clips_barely_change_the_temperature(scale: float) -> None:
    label_matrix = np.tile(np.eye(4, dtype=bool), (5, 1))
    logits = scale * label_matrix
    calibration = calibrate(logits, label_matrix, "softmax")
    assert 0.5 < calibration.temperature <= 1
    calibration = calibrate(logits - scale / 2, label_matrix, "sigmoid")
    assert 0.4 < calibration.temperature <= 1


def test_calibration_error_is_the_gap_between_score_and_accuracy() -> None:
    scores = np.full(100, 0.9)
    assert calibration_error(scores, np.arange(100) < 60) == pytest.approx(0.3)
    assert calibration_error(scores, np.arange(100) < 90) == pytest.approx(0.0)
    mixed = np.array([1.0, 1.0, 0.5, 0.5])
    assert calibration_error(mixed, np.array([True, True, True, False])) == pytest.approx(0)


def test_rejection_threshold_keeps_correct_predictions() -> None:
    scores = np.linspace(0, 1, 1_001)
    threshold = rejection_threshold(scores, scores > 0.5)
    assert (scores[scores > 0.5] >= threshold).mean() == pytest.approx(0.975, abs=0.003)
    assert rejection_threshold(scores, np.zeros(1_001, bool)) == 0


def test_coverage_curve_runs_from_all_clips_to_the_most_confident() -> None:
    scores = np.array([0.9, 0.5, 0.9, 0.2])
    curve = coverage_curve(scores, [True, False, True, False])
    assert [(p.threshold, p.coverage, p.accuracy) for p in curve] == [
        (0.2, 1.0, 0.5),
        (0.5, 0.75, pytest.approx(2 / 3)),
        (0.9, 0.5, 1.0),
    ]
    for point in curve:
        assert at_threshold(scores, [True, False, True, False], point.threshold) == point
    assert at_threshold(scores, [True, False, True, False], 0.95).coverage == 0
