"""The gate: paired test on all clips, margin for each group, minimum for new labels."""

from pathlib import Path

import pytest

from earful.data.labels.clip import Clip
from earful.training.config.train_config import TrainingError
from earful.training.metrics.classification import paired_p_value
from earful.training.retraining.gate import (
    GateResult,
    PairedPrediction,
    evaluate_gate,
)


def paired_predictions(
    count: int, champion: bool, candidate: bool, label: str = "yes", speaker: str = "anna"
) -> list[PairedPrediction]:
    """Clips that each of the two models classifies correctly (True) or not."""
    clip = Clip(2, "a.wav", Path("a.wav"), label, speaker)
    pair = PairedPrediction(clip, label if champion else "wrong", label if candidate else "wrong")
    return [pair] * count


def gate_result_for(*groups: list[PairedPrediction], margin: float = 0.03) -> GateResult:
    return evaluate_gate([pair for group in groups for pair in group], margin, 0.8)


def test_p_value_is_that_of_the_exact_test() -> None:
    assert paired_p_value(0, 0) == 1
    assert paired_p_value(5, 0) == pytest.approx(0.5**5)
    assert paired_p_value(1, 1) == pytest.approx(0.75)
    assert paired_p_value(2, 9) > 0.99


def test_equal_and_better_candidates_pass() -> None:
    assert gate_result_for(paired_predictions(100, True, True)).passed
    result = gate_result_for(
        paired_predictions(90, True, True), paired_predictions(10, False, True)
    )
    assert result.passed
    assert (result.overall.champion, result.overall.candidate) == (0.9, 1.0)


def test_significant_loss_fails_even_within_the_margin() -> None:
    result = gate_result_for(
        paired_predictions(995, True, True), paired_predictions(5, True, False), margin=0.03
    )
    assert not result.passed
    assert [check.kind for check in result.checks if not check.passed] == ["all"]
    assert "worse by the paired test (5 lost, 0 won" in result.failures()[0]
    # Equally many lost and won: not significant.
    assert gate_result_for(
        paired_predictions(990, True, True),
        paired_predictions(5, True, False),
        paired_predictions(5, False, True),
    ).passed


def test_group_that_loses_more_than_the_margin_fails() -> None:
    result = gate_result_for(
        paired_predictions(40, True, True, speaker="anna"),
        paired_predictions(10, False, True, speaker="anna"),
        paired_predictions(18, True, True, speaker="bert"),
        paired_predictions(2, True, False, speaker="bert"),
    )
    assert result.failures() == [
        "speaker 'bert': 10.0 points worse (2 of 20 clips lost, 0 won; the margin is 3 points)"
    ]
    assert gate_result_for(
        paired_predictions(19, True, True, speaker="bert"),
        paired_predictions(1, True, False, speaker="bert"),
    ).passed, "a loss of one clip never fails a group"


def test_new_label_needs_minimum_accuracy_and_is_not_compared_with_the_champion() -> None:
    clip = Clip(2, "a.wav", Path("a.wav"), "maybe")
    known = paired_predictions(10, True, True)
    good = [
        *known,
        *[PairedPrediction(clip, None, "maybe")] * 4,
        PairedPrediction(clip, None, "yes"),
    ]
    assert gate_result_for(good).passed
    assert gate_result_for(good).overall.clips == 10
    bad = [*known, *[PairedPrediction(clip, None, "yes")] * 5]
    assert gate_result_for(bad).failures() == [
        "new label 'maybe': 0 of 5 held-out clips correct, 80 % required"
    ]


def test_new_label_without_held_out_clips_fails_the_gate() -> None:
    result = evaluate_gate(
        paired_predictions(10, True, True), 0.03, 0.8, expected_new_labels=["maybe"]
    )
    assert result.failures() == [
        "new label 'maybe': no held-out clips; give three or more clips of the label"
    ]


def test_empty_test_set_is_an_error() -> None:
    with pytest.raises(TrainingError, match="no clip with a label of the champion"):
        evaluate_gate([], 0.03, 0.8)
