"""The gate: a paired test on all clips, a margin for each group, a floor for new labels."""

from pathlib import Path

import pytest

from earful.data.labels.labels_csv import Clip
from earful.training.config.train_config import TrainingError
from earful.training.retraining.gate import Answered, Verdict, judge, paired_p_value


def answers(
    count: int, before: bool, after: bool, label: str = "yes", who: str = "anna"
) -> list[Answered]:
    clip = Clip(2, "a.wav", Path("a.wav"), label, who)
    right, wrong = label, "wrong"
    return [Answered(clip, right if before else wrong, right if after else wrong)] * count


def judged(*groups: list[Answered], margin: float = 0.03) -> Verdict:
    return judge([answer for group in groups for answer in group], margin, 0.8)


def test_the_p_value_is_that_of_the_exact_test() -> None:
    assert paired_p_value(0, 0) == 1
    assert paired_p_value(5, 0) == pytest.approx(0.5**5)
    assert paired_p_value(1, 1) == pytest.approx(0.75)
    assert paired_p_value(2, 9) > 0.99


def test_equal_and_better_pass() -> None:
    assert judged(answers(100, True, True)).passed
    found = judged(answers(90, True, True), answers(10, False, True))
    assert found.passed
    assert (found.overall.champion, found.overall.candidate) == (0.9, 1.0)


def test_a_loss_that_chance_does_not_explain_fails_though_it_is_within_the_margin() -> None:
    found = judged(answers(995, True, True), answers(5, True, False), margin=0.03)
    assert not found.passed
    assert [check.kind for check in found.checks if not check.passed] == ["all"]
    assert "worse by the paired test (5 lost, 0 won" in found.failures()[0]
    # As many lost, others won: that may be chance.
    assert judged(answers(990, True, True), answers(5, True, False), answers(5, False, True)).passed


def test_a_group_that_loses_more_than_the_margin_fails_however_well_the_others_do() -> None:
    found = judged(
        answers(40, True, True, who="anna"), answers(10, False, True, who="anna"),
        answers(18, True, True, who="bert"), answers(2, True, False, who="bert"),
    )  # fmt: skip
    assert found.failures() == [
        "speaker 'bert': 10.0 points worse (2 of 20 clips lost, 0 won; 3 points are allowed)"
    ]
    assert judged(
        answers(19, True, True, who="bert"), answers(1, True, False, who="bert")
    ).passed, "a single clip makes no group worse"


def test_a_new_label_must_be_known_and_does_not_count_against_the_champion() -> None:
    clip = Clip(2, "a.wav", Path("a.wav"), "maybe")
    known = answers(10, True, True)
    good = [*known, *[Answered(clip, None, "maybe")] * 4, Answered(clip, None, "yes")]
    assert judged(good).passed
    assert judged(good).overall.clips == 10
    bad = [*known, *[Answered(clip, None, "yes")] * 5]
    assert judged(bad).failures() == [
        "new label 'maybe': 0 of 5 held-out clips right, 80 % are wanted"
    ]


def test_a_new_label_without_a_held_out_clip_is_not_let_through_unmeasured() -> None:
    found = judge(answers(10, True, True), 0.03, 0.8, new=["maybe"])
    assert found.failures() == [
        "new label 'maybe': no clip is held out to measure it; three or more are needed"
    ]


def test_without_a_test_set_nothing_can_be_said() -> None:
    with pytest.raises(TrainingError, match="no clip of a label that the champion knows"):
        judge([], 0.03, 0.8)
