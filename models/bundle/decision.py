"""What a model's scores are, and which labels they speak for: one rule, in training and service."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

# ``softmax``: one label a clip, scores sum to 1. ``sigmoid``: any number of labels, each with a
# probability of its own.
ScoreKind = Literal["softmax", "sigmoid"]
SCORE_KINDS: tuple[ScoreKind, ...] = get_args(ScoreKind)
# A label of a sigmoid model is said where it is likelier than not.
DECISION_THRESHOLD = 0.5


def predicted_label_mask(
    scores: NDArray[np.floating], score_kind: ScoreKind, decision_threshold: float = DECISION_THRESHOLD
) -> NDArray[np.bool_]:
    """Which labels the scores (clips, labels) speak for: (clips, labels), one or more of each clip.

    Of softmax scores the best one alone. Of sigmoid scores all that reach ``said_from``, and where
    none does, the best one alone: no clip that was trained on had none.
    """
    predicted = np.zeros(scores.shape, np.bool_)
    predicted[np.arange(len(scores)), scores.argmax(axis=1)] = True
    return predicted if score_kind == "softmax" else predicted | (scores >= decision_threshold)
