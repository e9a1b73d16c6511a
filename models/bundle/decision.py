"""How scores become labels: one rule for training and serving."""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

# ``softmax``: one label per clip, scores sum to 1. ``sigmoid``: any number of labels, each with its
# own probability.
ScoreKind = Literal["softmax", "sigmoid"]
SCORE_KINDS: tuple[ScoreKind, ...] = get_args(ScoreKind)
# A sigmoid model predicts every label that is likelier than not.
DECISION_THRESHOLD = 0.5
# The label of clips that are rejected: they score below the model's rejection threshold.
UNKNOWN_LABEL = "unknown"
# Its other spelling is that of Google's Speech Commands (arXiv:1804.03209).
_REJECTION_NAMES = frozenset((UNKNOWN_LABEL, f"_{UNKNOWN_LABEL}_"))


def names_rejection(label: str) -> bool:
    """Whether a label is the answer for rejected clips in any case, so no class of sounds."""
    return label.casefold() in _REJECTION_NAMES


def predicted_label_mask(
    scores: NDArray[np.floating],
    score_kind: ScoreKind,
    decision_threshold: float = DECISION_THRESHOLD,
) -> NDArray[np.bool_]:
    """Mask (clips, labels) of the labels predicted by scores (clips, labels), one or more a clip.

    Softmax: the label with the highest score. Sigmoid: all labels that score at least
    ``decision_threshold``; if there are none, the label with the highest score, because every
    training clip has a label.
    """
    predicted = np.zeros(scores.shape, np.bool_)
    predicted[np.arange(len(scores)), scores.argmax(axis=1)] = True
    return predicted if score_kind == "softmax" else predicted | (scores >= decision_threshold)
