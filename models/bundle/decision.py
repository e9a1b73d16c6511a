"""What a model's scores are, and which labels they speak for: one rule, in training and service."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

# ``softmax``: one label a clip, scores sum to 1. ``sigmoid``: any number of labels, each with a
# probability of its own.
Scores = Literal["softmax", "sigmoid"]
SCORES: tuple[Scores, ...] = get_args(Scores)
# A label of a sigmoid model is said where it is likelier than not.
SAID_FROM = 0.5


def said_labels(
    scores: NDArray[np.floating], kind: Scores, said_from: float = SAID_FROM
) -> NDArray[np.bool_]:
    """Which labels the scores (clips, labels) speak for: (clips, labels), one or more of each clip.

    Of softmax scores the best one alone. Of sigmoid scores all that reach ``said_from``, and where
    none does, the best one alone: no clip that was trained on had none.
    """
    said = np.zeros(scores.shape, np.bool_)
    said[np.arange(len(scores)), scores.argmax(axis=1)] = True
    return said if kind == "softmax" else said | (scores >= said_from)
