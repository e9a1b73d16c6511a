"""The folds of a dataset: the last one is tested on, or each in turn; none is torn apart."""

from pathlib import Path

import pytest

from earful.data.labels.clip import Clip
from earful.data.labels.folds import column_folds
from earful.data.labels.splits import SplitError, assign_splits


def clips(folds: list[str]) -> list[Clip]:
    """Eight clips of two labels in each fold."""
    return [
        Clip(line, f"{line}.wav", Path(f"{line}.wav"), f"l{n % 2}", fold=fold)
        for line, (fold, n) in enumerate(((fold, n) for fold in folds for n in range(8)), 2)
    ]


def splits_by_fold(folds: list[str]) -> dict[str, set[str]]:
    dataset = clips(folds)
    parts: dict[str, set[str]] = {}
    for clip, split in zip(dataset, assign_splits(dataset, "fold"), strict=True):
        parts.setdefault(clip.fold, set()).add(split)
    return parts


def test_the_last_fold_in_natural_order_is_tested_and_the_one_before_validates() -> None:
    assert splits_by_fold(["10", "2", "1", "9"]) == {
        "1": {"train"},
        "2": {"train"},
        "9": {"val"},
        "10": {"test"},
    }


def test_of_two_folds_one_is_tested_and_the_other_validates_too() -> None:
    assert splits_by_fold(["a", "b"]) == {"a": {"train", "val"}, "b": {"test"}}


def test_a_label_of_the_last_fold_alone_is_refused() -> None:
    dataset = [*clips(["1", "2", "3"]), *(clip_of("rare", "3") for _ in range(3))]
    with pytest.raises(SplitError, match=r"no clip in the training part: 'rare'.*another --split"):
        assign_splits(dataset, "fold")


def clip_of(label: str, fold: str) -> Clip:
    return Clip(99, "x.wav", Path("x.wav"), label, fold=fold)


@pytest.mark.parametrize(
    ("folds", "message"),
    [
        (["", ""], "the clips have no folds; name the column"),
        (["1", "", "2"], r"8 of 24 clips have no fold \(the first: line 10, 10.wav\)"),
        (["1", "1"], "all clips are of the fold '1'; at least two"),
    ],
)
def test_missing_folds_are_refused(folds: list[str], message: str) -> None:
    dataset = clips(folds)
    with pytest.raises(SplitError, match=message):
        assign_splits(dataset, "fold")
    with pytest.raises(SplitError, match=message):
        column_folds(
            [clip.label for clip in dataset],
            [clip.fold for clip in dataset],
            [clip.location for clip in dataset],
        )


@pytest.mark.parametrize("names", [["3", "1", "2"], ["b", "a"]])
def test_each_fold_is_tested_once_and_kept_whole(names: list[str]) -> None:
    dataset = clips(names)
    of_clip = [clip.fold for clip in dataset]
    folds = column_folds([clip.label for clip in dataset], of_clip, ["x"] * len(dataset))
    assert [fold.name for fold in folds] == sorted(names)
    for number, fold in enumerate(folds):
        tested = {f for f, split in zip(of_clip, fold.splits, strict=True) if split == "test"}
        validated = {f for f, split in zip(of_clip, fold.splits, strict=True) if split == "val"}
        assert tested == {fold.name}
        assert set(fold.splits) == {"train", "val", "test"}
        if len(names) > 2:
            assert validated == {folds[number - 1].name}


def test_the_last_crossval_fold_is_the_split_of_prepare() -> None:
    dataset = clips(["1", "2", "3"])
    folds = column_folds(
        [clip.label for clip in dataset], [clip.fold for clip in dataset], ["x"] * len(dataset)
    )
    assert list(folds[-1].splits) == assign_splits(dataset, "fold")
