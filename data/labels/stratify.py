"""Stratified parts: of whole groups, and of multi-label clips, which scikit-learn's are not."""

import warnings
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from earful.data.labels.multilabel import distinct_labels, split_labels

IndexArray = NDArray[np.int64]


def rarest_labels(labels: Sequence[str]) -> list[str]:
    """The rarest label of each clip, by which a split of whole speakers is stratified."""
    clips = Counter(label for text in labels for label in split_labels(text))
    return [min(split_labels(text), key=lambda label: (clips[label], label)) for text in labels]


def group_parts(
    labels: Sequence[str], groups: Sequence[str], n_parts: int, seed: int
) -> list[IndexArray]:
    """Parts (positions,) of whole groups, in which each label keeps its share if it can."""
    splitter = StratifiedGroupKFold(n_splits=n_parts, shuffle=True, random_state=seed)
    codes = np.unique(np.asarray(labels), return_inverse=True)[1]
    with warnings.catch_warnings():  # labels rarer than parts: the callers report what matters
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        return [part for _, part in splitter.split(np.zeros(len(labels)), codes, groups)]


def draw_stratified(labels: Sequence[str], size: int, seed: int) -> IndexArray:
    """About ``size`` positions (drawn,) of ``labels``, in which each label keeps its share.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011): clips of the rarest label are
    assigned first, each to the part that needs that label most, on ties to the part with more room
    left; clips of rare labels go to the larger part.
    """
    names = distinct_labels(labels)
    position = {name: i for i, name in enumerate(names)}
    label_matrix = np.zeros((len(labels), len(names)), np.bool_)
    for row, text in enumerate(labels):
        label_matrix[row, [position[label] for label in split_labels(text)]] = True
    share = np.array([1 - size / len(labels), size / len(labels)])
    still_needed = share[:, None] * label_matrix.sum(axis=0)  # (parts, labels)
    capacity = share * len(labels)
    order = np.random.default_rng(seed).permutation(len(labels))
    unassigned = np.ones(len(labels), np.bool_)
    drawn: list[int] = []
    while unassigned.any():
        remaining = label_matrix[unassigned].sum(axis=0)  # (labels,)
        rarest = int(np.where(remaining > 0, remaining, len(labels) + 1).argmin())
        for clip in order[(label_matrix[:, rarest] & unassigned)[order]].tolist():
            needs = [(still_needed[part, rarest], capacity[part]) for part in (0, 1)]
            part = int(needs[1] > needs[0])
            still_needed[part] -= label_matrix[clip]
            capacity[part] -= 1
            unassigned[clip] = False
            if part == 1:
                drawn.append(clip)
    return np.array(sorted(drawn), np.int64)
