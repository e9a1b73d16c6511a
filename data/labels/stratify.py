"""Parts of a set in which every label keeps its share, where clips may have several labels.

What splits draw by when clips have one label each is scikit-learn's and knows only that.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from earful.data.labels.multilabel import distinct_labels, split_labels

IndexArray = NDArray[np.int64]


def rarest_labels(labels: Sequence[str]) -> list[str]:
    """Of each clip the label that the fewest clips have: what to balance whole speakers by.

    A clip with one label gives that.
    """
    clips = Counter(label for text in labels for label in split_labels(text))
    return [min(split_labels(text), key=lambda label: (clips[label], label)) for text in labels]


def draw_stratified(labels: Sequence[str], size: int, seed: int) -> IndexArray:
    """About ``size`` positions of ``labels``, so that each label has its share of them.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011): the clips of the rarest label
    are dealt first, each to the part that lacks that label most, else to the emptier one; of labels
    with few clips the larger part gets them.
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
        left = label_matrix[unassigned].sum(axis=0)
        rarest = int(np.where(left > 0, left, len(labels) + 1).argmin())
        for clip in order[(label_matrix[:, rarest] & unassigned)[order]].tolist():
            part = (
                1
                if (still_needed[1, rarest], capacity[1]) > (still_needed[0, rarest], capacity[0])
                else 0
            )
            still_needed[part] -= label_matrix[clip]
            capacity[part] -= 1
            unassigned[clip] = False
            if part == 1:
                drawn.append(clip)
    return np.array(sorted(drawn), np.int64)
