"""Parts of a set in which every label keeps its share, where clips may have several labels.

What splits draw by when clips have one label each is scikit-learn's and knows only that.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from earful.data.labels.multilabel import all_labels, split_labels

Indices = NDArray[np.int64]


def rarest_labels(labels: Sequence[str]) -> list[str]:
    """Of each clip the label that the fewest clips have: what to balance whole speakers by.

    A clip with one label gives that.
    """
    clips = Counter(label for text in labels for label in split_labels(text))
    return [min(split_labels(text), key=lambda label: (clips[label], label)) for text in labels]


def draw_stratified(labels: Sequence[str], size: int, seed: int) -> Indices:
    """About ``size`` positions of ``labels``, so that each label has its share of them.

    Iterative stratification (Sechidis, Tsoumakas and Vlahavas, 2011): the clips of the rarest label
    are dealt first, each to the part that lacks that label most, else to the emptier one; of labels
    with few clips the larger part gets them.
    """
    names = all_labels(labels)
    position = {name: i for i, name in enumerate(names)}
    has = np.zeros((len(labels), len(names)), np.bool_)
    for row, text in enumerate(labels):
        has[row, [position[label] for label in split_labels(text)]] = True
    share = np.array([1 - size / len(labels), size / len(labels)])
    lacks = share[:, None] * has.sum(axis=0)  # (parts, labels)
    room = share * len(labels)
    order = np.random.default_rng(seed).permutation(len(labels))
    waiting = np.ones(len(labels), np.bool_)
    drawn: list[int] = []
    while waiting.any():
        left = has[waiting].sum(axis=0)
        rarest = int(np.where(left > 0, left, len(labels) + 1).argmin())
        for clip in order[(has[:, rarest] & waiting)[order]].tolist():
            part = 1 if (lacks[1, rarest], room[1]) > (lacks[0, rarest], room[0]) else 0
            lacks[part] -= has[clip]
            room[part] -= 1
            waiting[clip] = False
            if part == 1:
                drawn.append(clip)
    return np.array(sorted(drawn), np.int64)
