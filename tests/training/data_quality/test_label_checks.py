"""Typos and variants of labels are found; ordinary labels have no findings."""

from pathlib import Path

import pytest

from earful.data.labels.clip import Clip
from earful.training.data_quality.label_checks import (
    canonical_form,
    check_balance,
    check_label_names,
    edit_distance,
    is_typo,
)


def clips(**counts: int) -> list[Clip]:
    return clips_with_counts(counts)


def clips_with_counts(counts: dict[str, int]) -> list[Clip]:
    labels = [label for label, n in counts.items() for _ in range(n)]
    return [Clip(i, f"{i}.wav", Path(f"{i}.wav"), label) for i, label in enumerate(labels, 2)]


def test_typo_is_reported_for_each_of_its_clips() -> None:
    findings = check_label_names(clips(seven=40, sevn=2, eight=40))
    assert [(f.code, f.line, f.label, f.suggested) for f in findings] == [
        ("label_typo", 42, "sevn", "seven"),
        ("label_typo", 43, "sevn", "seven"),
    ]
    assert findings[0].message == "'sevn' (2 clips) is similar to 'seven' (40 clips)"


@pytest.mark.parametrize(
    ("rare", "common"),
    [
        ("sevn", "seven"),
        ("sevven", "seven"),
        ("seevn", "seven"),
        ("sevem", "seven"),
        ("yess", "yes"),
        ("blackbrid", "blackbird"),
        ("windcreen", "windscreen"),
    ],
)
def test_common_typos_are_detected(rare: str, common: str) -> None:
    assert [f.suggested for f in check_label_names(clips_with_counts({common: 30, rare: 1}))] == [
        common
    ]


@pytest.mark.parametrize(
    "labels",
    [
        [str(n) for n in range(20)],
        ["on", "off", "up", "no", "go"],
        ["yes", "yet", "two", "too", "bed", "bad"],
        ["speaker1", "speaker2", "speaker10"],
        ["A", "a", "m", "M"],
        ["C4", "C#4", "D4"],
        ["-1", "1"],
        ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"],
    ],
)
@pytest.mark.parametrize("others", [1, 50])
def test_ordinary_labels_have_no_findings(labels: list[str], others: int) -> None:
    counts = dict.fromkeys(labels, others)
    assert check_label_names(clips_with_counts(counts | {labels[0]: 50})) == []


def test_two_frequent_similar_labels_are_not_typos() -> None:
    assert check_label_names(clips(three=50, tree=20)) == []
    assert len(check_label_names(clips(three=50, tree=2))) == 2


@pytest.mark.parametrize(
    ("label", "other"),
    [
        ("Seven", "seven"),
        ("turn-left", "turn_left"),
        ("turn  left", "turn left"),
        ("café", "cafe\u0301"),
        ("ｓｅｖｅｎ", "seven"),
        ("1.0", "1"),
        ("ze\u200bro", "zero"),
        ("STRASSE", "straße"),
    ],
)
def test_spelling_variants_of_one_label_are_grouped(label: str, other: str) -> None:
    assert canonical_form(label) == canonical_form(other)
    findings = check_label_names(clips_with_counts({label: 30, other: 31}))
    assert {(f.code, f.label, f.suggested) for f in findings} == {("label_variant", label, other)}
    assert len(findings) == 30


@pytest.mark.parametrize("label", ["_", "-", " ", "\u200b"])
def test_label_of_separators_only_is_kept(label: str) -> None:
    assert canonical_form(label) != ""


def test_edit_distance_is_computed_up_to_the_limit() -> None:
    assert [edit_distance(a, "seven", 2) for a in ("seven", "sevne", "sven", "seventh", "x")] == [
        0,
        1,
        1,
        2,
        3,
    ]
    assert edit_distance("", "ab", 2) == 2
    assert not is_typo("take1", "take2")


def test_rare_and_dominant_labels() -> None:
    assert [(f.code, f.label) for f in check_balance(clips(a=100, b=9, c=100, d=1_001))] == [
        ("imbalance", "b"),
        ("dominant_label", "d"),
    ]
    assert list(check_balance(clips(a=100, b=10, c=100))) == []
    assert list(check_balance([])) == []
