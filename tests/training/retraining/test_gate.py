"""The gate: a paired test on all clips, a margin for each group, a floor for new labels."""

from pathlib import Path

import pytest

from earful.data.labels.labels_csv import Clip
from earful.training.config.train_config import TrainingError
from earful.training.retraining.gate import Answered, Verdict, judge, paired_p_value


def paired_predictions(
    count: int, before: bool, after: bool, label: str = "yes", speaker: str = "anna"
) -> list[Answered]:
    clip = Clip(2, "a.wav", Path("a.wav"), label, speaker)
    right, wrong = label, "wrong"
    return [Answered(clip, right if before else wrong, right if after else wrong)] * count


def gate_result_for(*groups: list[Answered], margin: float = 0.03) -> Verdict:
    return judge([answer for group in groups for answer in group], margin, 0.8)


def test_the_p_value_is_that_of_the_exact_test() -> None:
    assert paired_p_value(0, 0) == 1
    assert paired_p_value(5, 0) == pytest.approx(0.5**5)
    assert paired_p_value(1, 1) == pytest.approx(0.75)
    assert paired_p_value(2, 9) > 0.99


def test_equal_and_better_pass() -> None:
    assert gate_result_for(paired_predictions(100, True, True)).passed
    found = gate_result_for(paired_predictions(90, True, True), paired_predictions(10, False, True))
    assert found.passed
    assert (found.overall.champion, found.overall.candidate) == (0.9, 1.0)


def test_significant_loss_fails_even_within_the_margin() -> None:
    found = gate_result_for(paired_predictions(995, True, True), paired_predictions(5, True, False), margin=0.03)
    assert not found.passed
    assert [check.kind for check in found.checks if not check.passed] == ["all"]
    assert "worse by the paired test (5 lost, 0 won" in found.failures()[0]
    # As many lost, others won: that may be chance.
    assert gate_result_for(paired_predictions(990, True, True), paired_predictions(5, True, False), paired_predictions(5, False, True)).passed


def test_group_that_loses_more_than_the_margin_fails() -> None:
    found = gate_result_for(
        paired_predictions(40, True, True, speaker="anna"), paired_predictions(10, False, True, speaker="anna"),
        paired_predictions(18, True, True, speaker="bert"), paired_predictions(2, True, False, speaker="bert"),
    )  # fmt: skip
    assert found.failures() == [
        "speaker 'bert': 10.0 points worse (2 of 20 clips lost, 0 won; 3 points are allowed)"
    ]
    assert gate_result_for(
        paired_predictions(19, True, True, speaker="bert"), paired_predictions(1, True, False, speaker="bert")
    ).passed, "a single clip makes no group worse"


def test_a_new_label_must_be_known_and_does_not_count_against_the_champion() -> None:
    clip = Clip(2, "a.wav", Path("a.wav"), "maybe")
    known = paired_predictions(10, True, True)
    good = [*known, *[Answered(clip, None, "maybe")] * 4, Answered(clip, None, "yes")]
    assert gate_result_for(good).passed
    assert gate_result_for(good).overall.clips == 10
    bad = [*known, *[Answered(clip, None, "yes")] * 5]
    assert gate_result_for(bad).failures() == [
        "new label 'maybe': 0 of 5 held-out clips right, 80 % are wanted"
    ]


def test_new_label_without_held_out_clips_fails_the_gate() -> None:
    found = judge(paired_predictions(10, True, True), 0.03, 0.8, new=["maybe"])
    assert found.failures() == [
        "new label 'maybe': no clip is held out to measure it; three or more are needed"
    ]


def test_empty_test_set_is_an_error() -> None:
    with pytest.raises(TrainingError, match="no clip of a label that the champion knows"):
        judge([], 0.03, 0.8)
