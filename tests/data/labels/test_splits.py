"""Splits: equal to scikit-learn's, by speaker, by column, and refused with a reason."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from earful.data.labels.clip import Clip
from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.labels_csv import read_labels
from earful.data.labels.splits import (
    SplitError,
    SplitMode,
    assign_splits,
    default_split_mode,
    shared_speakers,
)


def clip(number: int, label: str, speaker: str = "", split: str = "") -> Clip:
    name = f"{number}.wav"
    return Clip(number + 2, name, Path(name), label, speaker, split)


def clips(labels: int, speakers: int, repetitions: int) -> list[Clip]:
    """Every label by every speaker, ``repetitions`` times."""
    speaker_ids = [f"s{n}" for n in range(speakers)] or [""]
    rows = [
        (f"l{label}", speaker_id)
        for label in range(labels)
        for speaker_id in speaker_ids
        for _ in range(repetitions)
    ]
    return [clip(i, label, speaker_id) for i, (label, speaker_id) in enumerate(rows)]


def by_split(clips: list[Clip], splits: list[str], field: str) -> dict[str, set[str]]:
    parts: dict[str, set[str]] = {"train": set(), "val": set(), "test": set()}
    for clip, split in zip(clips, splits, strict=True):
        parts[split].add(getattr(clip, field))
    return parts


@pytest.mark.parametrize(("labels", "repetitions"), [(2, 50), (10, 30), (3, 7)])
def test_random_split_matches_scikit_learn(labels: int, repetitions: int) -> None:
    dataset = clips(labels, 0, repetitions)
    splits = assign_splits(dataset, "random")
    _, test = train_test_split(
        np.arange(len(dataset)), test_size=0.2, random_state=42, stratify=[c.label for c in dataset]
    )
    assert {i for i, split in enumerate(splits) if split == "test"} == set(test)


def test_real_recordings_split_as_scikit_learn_splits_them(fsdd: Path) -> None:
    dataset = read_labels(fsdd / "labels.csv", CsvOptions(fsdd / "recordings")).clips
    splits = assign_splits(dataset, "random")
    train, test = train_test_split(
        range(3000), test_size=0.2, random_state=42, stratify=[c.label for c in dataset]
    )
    assert [i for i, split in enumerate(splits) if split == "test"] == sorted(test)
    assert [i for i, split in enumerate(splits) if split != "test"] == sorted(train)


@pytest.mark.parametrize(("labels", "repetitions"), [(2, 50), (10, 30), (3, 7), (5, 4), (2, 3)])
def test_random_split_has_every_label_in_every_part(labels: int, repetitions: int) -> None:
    dataset = clips(labels, 0, repetitions)
    parts = by_split(dataset, assign_splits(dataset, "random"), "label")
    assert parts["train"] == parts["test"] == parts["val"] == {c.label for c in dataset}


@pytest.mark.parametrize(
    ("labels", "speakers", "repetitions"),
    [(2, 4, 5), (10, 6, 50), (3, 11, 2), (2, 30, 1), (2, 12, 1)],
)
def test_speaker_split_keeps_each_speaker_in_one_part(
    labels: int, speakers: int, repetitions: int
) -> None:
    dataset = clips(labels, speakers, repetitions)
    splits = assign_splits(dataset, "speaker")
    split_speakers = by_split(dataset, splits, "speaker")
    assert all(split_speakers.values())
    assert not split_speakers["test"] & (split_speakers["train"] | split_speakers["val"])
    assert not split_speakers["val"] & split_speakers["train"]
    assert shared_speakers(dataset, splits) == set()
    assert by_split(dataset, splits, "label")["train"] == {c.label for c in dataset}


def test_real_speakers_are_kept_apart(fsdd: Path) -> None:
    dataset = [*read_labels(fsdd / "labels_full.csv", CsvOptions(fsdd / "recordings")).clips]
    splits = assign_splits(dataset, "speaker")
    split_speakers = by_split(dataset, splits, "speaker")
    assert {part: len(names) for part, names in split_speakers.items()} == {
        "train": 4,
        "val": 1,
        "test": 1,
    }
    assert Counter(splits) == {"train": 2000, "val": 500, "test": 500}


def test_one_of_two_speakers_is_held_out_for_testing() -> None:
    dataset = clips(2, 2, 10)
    split_speakers = by_split(dataset, assign_splits(dataset, "speaker"), "speaker")
    assert split_speakers["train"] == split_speakers["val"] != split_speakers["test"]


def test_clips_without_a_speaker_count_as_separate_speakers() -> None:
    dataset = [*clips(2, 5, 4), *(clip(100 + i, "l0") for i in range(20))]
    splits = assign_splits(dataset, "speaker")
    assert shared_speakers(dataset, splits) == set()
    assert {split for c, split in zip(dataset, splits, strict=True) if not c.speaker} >= {"train"}


@pytest.mark.parametrize("seed", range(40))
def test_small_sets_are_split_or_refused_with_a_message(seed: int) -> None:
    """Rare labels and unequal speakers: no warning, no other error, a complete split."""
    rng = np.random.default_rng(seed)
    n_clips, n_labels, n_speakers = rng.integers(1, 60), rng.integers(1, 6), rng.integers(1, 12)
    dataset = [
        clip(i, f"l{rng.integers(n_labels)}", f"s{rng.integers(n_speakers)}" * (rng.random() < 0.9))
        for i in range(n_clips)
    ]
    for mode in ("random", "speaker"):
        try:
            splits = assign_splits(dataset, mode)
        except SplitError:
            continue
        assert set(splits) == {"train", "val", "test"}
        assert by_split(dataset, splits, "label")["train"] == {c.label for c in dataset}
        if mode == "speaker":
            assert shared_speakers(dataset, splits) == set()


def test_only_speaker_of_a_label_stays_in_training() -> None:
    """Even if only that speaker has the requested number of clips."""
    counts = {"big": 30, "tall": 30, "small": 4, "short": 4}
    label_speaker_pairs = [
        (f"l{n % 2}", speaker_id) for speaker_id, n_clips in counts.items() for n in range(n_clips)
    ]
    label_speaker_pairs += [(("l0", "l1", "rare")[n % 3], "only") for n in range(17)]
    dataset = [
        clip(i, label, speaker_id) for i, (label, speaker_id) in enumerate(label_speaker_pairs)
    ]
    parts = by_split(dataset, assign_splits(dataset, "speaker"), "label")
    assert parts["train"] == {"l0", "l1", "rare"}


@pytest.mark.parametrize("mode", ["random", "speaker"])
def test_same_seed_gives_the_same_split(mode: SplitMode) -> None:
    dataset = clips(4, 8, 3)
    assert assign_splits(dataset, mode) == assign_splits(dataset, mode)
    assert assign_splits(dataset, mode, seed=1) != assign_splits(dataset, mode, seed=2)


def test_split_column_is_followed() -> None:
    column = ["train", "train", "val", "test"] * 5
    dataset = [clip(i, f"l{i // 4 % 2}", split=split) for i, split in enumerate(column)]
    assert assign_splits(dataset, "column") == column


def test_validation_is_drawn_if_the_column_has_none() -> None:
    column = ["train", "train", "train", "test"] * 10
    dataset = [clip(i, f"l{i // 4 % 2}", split=split) for i, split in enumerate(column)]
    splits = assign_splits(dataset, "column")
    assert [s == "test" for s in splits] == [s == "test" for s in column]
    assert by_split(dataset, splits, "label")["val"] == {"l0", "l1"}


def test_speakers_in_several_parts_are_listed() -> None:
    dataset = [clip(0, "x", "ann"), clip(1, "x", "ann"), clip(2, "x", "bob"), clip(3, "x")]
    assert shared_speakers(dataset, ["train", "test", "val", "test"]) == {"ann"}


@pytest.mark.parametrize(
    ("dataset", "mode", "message"),
    [
        ([], "random", "no usable clips"),
        (clips(1, 0, 9), "random", "all clips have the label 'l0'"),
        ([*clips(2, 0, 9), clip(70, "once")], "random", r"'once' \(line 72, 70.wav\)"),
        ([*clips(2, 4, 9), clip(70, "once", "s1")], "speaker", r"'once' \(line 72, 70.wav\)"),
        (clips(2, 1, 9), "speaker", "only the speaker 's0'"),
        (clips(2, 0, 9), "speaker", "found no speaker"),
        (clips(3, 0, 2), "random", "too few clips"),
        (clips(2, 0, 9), "column", r"18 clips have none \(first: line 2, 0.wav\)"),
        ([clip(i, f"l{i % 2}", split="test") for i in range(8)], "column", "no clip is 'train'"),
        (
            [clip(i, f"l{i % 2}", split=("train", "test")[i % 2]) for i in range(20)],
            "column",
            "no clip in the training part: 'l1'",
        ),
    ],
)
def test_impossible_split_is_refused(dataset: list[Clip], mode: SplitMode, message: str) -> None:
    with pytest.raises(SplitError, match=message):
        assign_splits(dataset, mode)


@pytest.mark.parametrize(
    ("columns", "mode"),
    [
        ({"label"}, "random"),
        ({"speaker"}, "speaker"),
        ({"speaker", "fold"}, "fold"),
        ({"speaker", "fold", "split"}, "column"),
    ],
)
def test_default_mode_is_the_strictest_the_columns_allow(columns: set[str], mode: str) -> None:
    assert default_split_mode(frozenset(columns)) == mode
