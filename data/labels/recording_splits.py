"""Splits that keep all clips of a recording in one part."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from earful.data.labels.clip import Clip
from earful.data.labels.multilabel import distinct_labels, join_labels
from earful.data.labels.splits import SEED, SplitMode, assign_splits

# Clips of one file that the labels do not set apart themselves.
_Recording = tuple[Path, str, str, str]


def assign_recording_splits(clips: Sequence[Clip], mode: SplitMode, seed: int = SEED) -> list[str]:
    """``assign_splits`` of whole recordings: ``train``, ``val`` or ``test`` for every clip.

    A recording with clips of several labels counts for all of them.

    Raises:
        SplitError: as ``assign_splits``; a label of one recording counts as a single clip.
    """
    members: dict[_Recording, list[Clip]] = {}
    for clip in clips:
        members.setdefault(_recording_of(clip), []).append(clip)
    whole = [
        replace(of[0], label=join_labels(distinct_labels(clip.label for clip in of)))
        for of in members.values()
    ]
    part = dict(zip(members, assign_splits(whole, mode, seed), strict=True))
    return [part[_recording_of(clip)] for clip in clips]


def _recording_of(clip: Clip) -> _Recording:
    return clip.path, clip.speaker, clip.split, clip.fold
