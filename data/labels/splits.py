"""Training, validation and test splits.

    random    scikit-learn's ``train_test_split(test_size=0.2, random_state=42)``, stratified
    speaker   no speaker in two parts (each clip without a speaker counts as a speaker of its own)
    fold      the last fold of the fold column is the test part, of three or more the one before it
              the validation part
    column    the split column of the CSV

Validation clips come out of the training part: whole speakers if the test speakers have no other
clips and three or more speakers are left to train on, else random clips.

Multi-label clips are drawn so that each label keeps its share (``data.labels.stratify``).
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from earful.data.errors import EarfulError
from earful.data.labels.clip import Clip, clips_by_label
from earful.data.labels.multilabel import (
    distinct_labels,
    has_multiple_labels,
    sort_labels,
    split_labels,
)
from earful.data.labels.stratify import draw_stratified, group_parts, rarest_labels

SplitMode = Literal["random", "speaker", "fold", "column"]
SEED = 42
TEST_FRACTION = 0.2
VALIDATION_FRACTION = 0.1

IndexArray = NDArray[np.int64]


class SplitError(EarfulError):
    """No usable split can be drawn; the message names the label or speaker that prevents it."""


def default_split_mode(columns: frozenset[str]) -> SplitMode:
    """The strictest mode that a CSV's columns allow."""
    if "split" in columns:
        return "column"
    if "fold" in columns:
        return "fold"
    return "speaker" if "speaker" in columns else "random"


def assign_splits(clips: Sequence[Clip], mode: SplitMode, seed: int = SEED) -> list[str]:
    """``train``, ``val`` or ``test`` for every clip; deterministic for a given seed.

    Raises:
        SplitError: a label with a single clip, a single speaker, an empty split or fold column, or
            a label without training clips.
    """
    _check_labels(clips)
    if mode == "column":
        splits = _from_column(clips)
    elif mode == "fold":
        splits = _from_folds(clips)
    else:
        pool = np.arange(len(clips))
        draw = _draw_random if mode == "random" else _draw_speakers
        test = draw(clips, pool, TEST_FRACTION, seed)
        splits = ["train"] * len(clips)
        for i in test:
            splits[i] = "test"
    if "val" not in splits:
        for i in _draw_validation(clips, splits, seed):
            splits[i] = "val"
    _check_training_labels(clips, splits)
    return splits


def shared_speakers(clips: Sequence[Clip], splits: Sequence[str]) -> set[str]:
    """Speakers with clips both in the test part and outside it."""
    by_part: dict[bool, set[str]] = {True: set(), False: set()}
    for clip, split in zip(clips, splits, strict=True):
        if clip.speaker:
            by_part[split == "test"].add(clip.speaker)
    return by_part[True] & by_part[False]


def find_folds(folds: Sequence[str], locations: Sequence[str]) -> list[str]:
    """The distinct folds of clips in natural order; ``locations`` name the clips in errors.

    Raises:
        SplitError: a clip has no fold, or there are fewer than two.
    """
    without = [place for fold, place in zip(folds, locations, strict=True) if not fold]
    if len(without) == len(folds):
        raise SplitError(
            "the clips have no folds; name the column that holds them: earful prepare --columns "
            "fold=COLUMN"
        )
    if without:
        raise SplitError(
            f"{len(without)} of {len(folds)} clips have no fold (the first: {without[0]}); fill "
            "the fold column"
        )
    names = sort_labels(folds)
    if len(names) < 2:
        raise SplitError(f"all clips are of the fold {names[0]!r}; at least two folds are needed")
    return names


def _from_folds(clips: Sequence[Clip]) -> list[str]:
    names = find_folds([clip.fold for clip in clips], [clip.location for clip in clips])
    parts = dict.fromkeys(names, "train")
    if len(names) > 2:
        parts[names[-2]] = "val"
    parts[names[-1]] = "test"
    return [parts[clip.fold] for clip in clips]


def _check_labels(clips: Sequence[Clip]) -> None:
    if not clips:
        raise SplitError("no usable clips; nothing to split")
    counts = clips_by_label(clips)
    if len(counts) == 1:
        raise SplitError(
            f"all clips have the label {clips[0].label!r}; at least two labels are needed"
        )
    single_clip_labels = [
        (label, clip) for clip in clips for label in split_labels(clip.label) if counts[label] == 1
    ]
    if single_clip_labels:
        named = "; ".join(f"{label!r} ({clip.location})" for label, clip in single_clip_labels[:20])
        raise SplitError(
            f"labels with a single clip, which cannot be in both training and test: {named}. "
            "Add clips of these labels, or remove the rows"
        )


def _from_column(clips: Sequence[Clip]) -> list[str]:
    missing = [clip for clip in clips if not clip.split]
    if missing:
        raise SplitError(
            f"--split column needs a split for every clip; {len(missing)} clips have none "
            f"(first: {missing[0].location}). Fill the split column, or use --split random or "
            "speaker"
        )
    splits = [clip.split for clip in clips]
    if "train" not in splits:
        raise SplitError("no clip is 'train' in the split column; training needs some")
    return splits


def _draw_random(clips: Sequence[Clip], pool: IndexArray, fraction: float, seed: int) -> IndexArray:
    """A stratified random part of ``pool``, equal to that of scikit-learn.

    If the fraction is fewer clips than labels, draws as many clips as labels.
    """
    labels = [clips[i].label for i in pool]
    if any(map(has_multiple_labels, labels)):
        return _draw_multi_label(pool, labels, fraction, seed)
    n_labels = len(set(labels))
    size: float | int = fraction
    if fraction * len(pool) < n_labels:
        size = n_labels
    if len(pool) < 2 * n_labels or min(Counter(labels).values()) < 2:
        raise SplitError(f"{len(pool)} clips of {n_labels} labels are too few to split; add clips")
    _, drawn = train_test_split(pool, test_size=size, random_state=seed, stratify=labels)
    return np.asarray(drawn)


def _draw_multi_label(
    pool: IndexArray, labels: Sequence[str], fraction: float, seed: int
) -> IndexArray:
    size = max(round(fraction * len(pool)), len(distinct_labels(labels)))
    drawn = draw_stratified(labels, size, seed) if 2 * size <= len(pool) else pool[:0]
    if len(drawn) == 0:
        n_labels = len(distinct_labels(labels))
        raise SplitError(f"{len(pool)} clips of {n_labels} labels are too few to split; add clips")
    return pool[drawn]


def _draw_speakers(
    clips: Sequence[Clip], pool: IndexArray, fraction: float, seed: int
) -> IndexArray:
    """About ``fraction`` of ``pool``: all clips of some speakers, stratified by label."""
    groups = [clips[i].speaker or f"\0{i}" for i in pool]
    labels = rarest_labels([clips[i].label for i in pool])
    known = {clips[i].speaker for i in pool if clips[i].speaker}
    if len(known) < 2:
        speakers_found = f"only the speaker {known.pop()!r}" if known else "no speaker"
        raise SplitError(
            f"a speaker split needs at least two speakers, found {speakers_found}; "
            "fill the speaker column, or use --split random"
        )
    folds = min(round(1 / fraction), len(known), max(Counter(labels).values()))
    if folds < 2:
        raise SplitError(
            f"{len(pool)} clips, each of another label, are too few to split; add clips"
        )
    parts = [pool[part] for part in group_parts(labels, groups, folds, seed)]
    non_trivial = [part for part in parts if 0 < len(part) < len(pool)]
    complete = [p for p in non_trivial if _keeps_every_label_in_training(clips, pool, p)]
    # The fold nearest to the requested size: with few speakers, sizes differ much.
    return min(complete or non_trivial, key=lambda part: abs(len(part) - fraction * len(pool)))


def _keeps_every_label_in_training(
    clips: Sequence[Clip], pool: IndexArray, part: IndexArray
) -> bool:
    rest = np.setdiff1d(pool, part)
    return clips_by_label([clips[i] for i in rest]).keys() == (
        clips_by_label([clips[i] for i in pool]).keys()
    )


def _draw_validation(clips: Sequence[Clip], splits: Sequence[str], seed: int) -> IndexArray:
    pool = np.array([i for i, split in enumerate(splits) if split == "train"])
    speakers = {clips[i].speaker for i in pool if clips[i].speaker}
    if len(speakers) > 2 and not shared_speakers(clips, splits):
        return _draw_speakers(clips, pool, VALIDATION_FRACTION, seed)
    counts = clips_by_label([clips[i] for i in pool])
    candidates = np.array(
        [i for i in pool if all(counts[label] > 1 for label in split_labels(clips[i].label))]
    )
    if len(candidates) == 0 or len(candidates) < 2 * len(
        clips_by_label([clips[i] for i in candidates])
    ):
        raise SplitError(
            "too few clips for a validation part; give every label at least four clips"
        )
    return _draw_random(clips, candidates, VALIDATION_FRACTION, seed)


def _check_training_labels(clips: Sequence[Clip], splits: Sequence[str]) -> None:
    by_split: dict[str, set[str]] = defaultdict(set)
    for clip, split in zip(clips, splits, strict=True):
        by_split[split].update(split_labels(clip.label))
    untrained = sorted(clips_by_label(clips).keys() - by_split["train"])
    if untrained:
        raise SplitError(
            f"labels with no clip in the training part: {', '.join(map(repr, untrained))}. "
            "Add clips of them, or use another --split"
        )
