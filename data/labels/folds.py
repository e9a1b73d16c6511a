"""Cross-validation folds: of speakers, who are in one part each, or those of the fold column.

Clips of one recording, such as its windows, are in one part too, but where speakers or folds divide
it. ``recordings`` names that of each clip; empty: each clip is one of its own.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from earful.data.labels.multilabel import (
    distinct_labels,
    has_multiple_labels,
    join_labels,
    split_labels,
)
from earful.data.labels.splits import SEED, VALIDATION_FRACTION, SplitError, find_folds
from earful.data.labels.stratify import draw_stratified, group_parts, rarest_labels

IndexArray = NDArray[np.int64]


@dataclass(frozen=True)
class Fold:
    """A fold's name, and ``train``, ``val`` or ``test`` for every clip."""

    name: str
    splits: tuple[str, ...]


def speaker_folds(
    labels: Sequence[str],
    speakers: Sequence[str],
    n_folds: int | None,
    recordings: Sequence[str] = (),
) -> list[Fold]:
    """Leave-one-speaker-out folds (``n_folds`` None), or ``n_folds`` groups of speakers.

    Clips without a speaker are always in training for leave-one-speaker-out; in groups each
    recording counts as a speaker of its own. A random tenth of the other recordings is the
    validation part.

    Raises:
        SplitError: fewer than two speakers or than folds, or a label without training clips.
    """
    known = sorted({speaker for speaker in speakers if speaker})
    if len(known) < max(2, n_folds or 2):
        raise SplitError(
            f"{n_folds or 'leave-one-speaker-out'} folds need {max(2, n_folds or 2)} speakers or "
            f"more, found {len(known)} ({', '.join(known) or 'none'}); fill the speaker column"
        )
    first = _first_clips(recordings, len(labels))
    parts = (
        _leave_one_out(known, speakers)
        if n_folds is None
        else _speaker_group_folds(labels, speakers, n_folds, first)
    )
    return [_build_fold(name, test, labels, first) for name, test in parts]


def column_folds(
    labels: Sequence[str],
    folds: Sequence[str],
    locations: Sequence[str],
    recordings: Sequence[str] = (),
) -> list[Fold]:
    """A fold for each of the dataset's own, with its clips as the test part.

    The validation part is the fold before, the last one for the first, so that clips that belong
    together stay together; of two folds it is a random tenth of the recordings of the other.

    Raises:
        SplitError: a clip has no fold, there are fewer than two, or a label has no training clips.
    """
    names = find_folds(folds, locations)
    of_clip, first = np.asarray(folds, dtype=object), _first_clips(recordings, len(labels))
    built = []
    for number, name in enumerate(names):
        test = np.flatnonzero(of_clip == name)
        val = np.flatnonzero(of_clip == names[number - 1]) if len(names) > 2 else None
        built.append(_build_fold(name, test, labels, first, val))
    return built


def _first_clips(recordings: Sequence[str], n_clips: int) -> list[int]:
    """The position of the first clip of each clip's recording."""
    first: dict[str, int] = {}
    return [first.setdefault(name, i) for i, name in enumerate(recordings)] or list(range(n_clips))


def _leave_one_out(
    known: Sequence[str], speakers: Sequence[str]
) -> Iterator[tuple[str, IndexArray]]:
    for speaker in known:
        yield speaker, np.array([i for i, s in enumerate(speakers) if s == speaker])


def _speaker_group_folds(
    labels: Sequence[str], speakers: Sequence[str], n_folds: int, first_clips: Sequence[int]
) -> Iterator[tuple[str, IndexArray]]:
    labels = rarest_labels(labels)  # StratifiedGroupKFold takes one label per clip
    label, most = Counter(labels).most_common(1)[0]
    if n_folds > most:
        raise SplitError(
            f"{n_folds} folds need a label with {n_folds} clips or more, found at most {most} "
            f"({label!r}); use fewer folds"
        )
    groups = [s or f"\0{first}" for s, first in zip(speakers, first_clips, strict=True)]
    for number, test in enumerate(group_parts(labels, groups, n_folds, SEED), 1):
        yield f"fold{number}", test


def _build_fold(
    name: str,
    test: IndexArray,
    labels: Sequence[str],
    first_clips: Sequence[int],
    val: IndexArray | None = None,
) -> Fold:
    """The fold with these test and validation clips; ``val`` None draws a tenth of the rest."""
    splits = np.full(len(labels), "train", dtype=object)
    splits[test] = "test"
    if val is not None:
        splits[val] = "val"
    rest = np.flatnonzero(splits == "train")
    _check_labels(name, labels, rest, test)
    if val is None:
        splits[_draw_validation(name, labels, rest, first_clips)] = "val"
    return Fold(name, tuple(splits))


def _draw_validation(
    name: str, labels: Sequence[str], rest: IndexArray, first_clips: Sequence[int]
) -> IndexArray:
    """Validation clips out of ``rest``: all those of some recordings.

    A recording with clips of several labels counts for all of them.
    """
    members: dict[int, list[int]] = defaultdict(list)
    for i in rest.tolist():
        members[first_clips[i]].append(i)
    heads = {clips[0]: clips for clips in members.values()}
    of_recording = {
        head: join_labels(distinct_labels(labels[i] for i in clips))
        for head, clips in heads.items()
    }
    drawn = _draw_recordings(name, of_recording)
    return np.array([i for head in drawn for i in heads[head]])


def _draw_recordings(name: str, labels: Mapping[int, str]) -> list[int]:
    """A tenth of the recordings, whose labels these are; a label's only one is not drawn."""
    by_label = defaultdict(list)
    for head, text in labels.items():
        for label in split_labels(text):
            by_label[label].append(head)
    single = {heads[0] for heads in by_label.values() if len(heads) == 1}
    n_labels = sum(len(heads) > 1 for heads in by_label.values())
    candidates = list(
        dict.fromkeys(i for heads in by_label.values() for i in heads if i not in single)
    )
    size = max(round(VALIDATION_FRACTION * len(labels)), n_labels)
    if n_labels == 0 or len(candidates) - size < n_labels:
        raise SplitError(
            f"fold {name!r}: too few other clips for training and validation, where those of one "
            "recording count as one; add clips"
        )
    stratify = [labels[head] for head in candidates]
    if any(map(has_multiple_labels, stratify)):
        return [candidates[i] for i in draw_stratified(stratify, size, SEED)]
    _, drawn = train_test_split(candidates, test_size=size, random_state=SEED, stratify=stratify)
    return list(drawn)


def _check_labels(name: str, labels: Sequence[str], rest: IndexArray, test: IndexArray) -> None:
    trained = set(distinct_labels(labels[int(i)] for i in rest))
    missing = sorted(set(distinct_labels(labels[int(i)] for i in test)) - trained)
    if missing:
        raise SplitError(
            f"fold {name!r}: no other clip of {', '.join(map(repr, missing))} to train on; "
            "add clips of them to other folds, or use fewer folds"
        )
