"""Checks what a model gives: a graph may be right on its golden example and wrong on other input.

Called for every batch, so each check is a few reductions.
"""

import numpy as np
from numpy.typing import NDArray

from earful.models.bundle.metadata import ModelMetadata

# The sum of a softmax in float32, also of a GPU or of quantised weights, is this close to 1.
_TOLERANCE = 1e-3


def find_score_problem(
    scores: NDArray[np.float32], shape: tuple[int, int], metadata: ModelMetadata
) -> str | None:
    """Why scores are not probabilities of this shape (batch, labels); None if they are."""
    if scores.shape != shape:
        return f"it gave scores of shape {scores.shape}, expected {shape}"
    if not scores.size:
        return None
    if not np.minimum.reduce(scores, None) >= 0:  # NaN is not
        return "it gave scores below 0 or not finite"
    if metadata.score_kind == "sigmoid":
        largest = np.maximum.reduce(scores, None)
        return None if largest <= 1 + _TOLERANCE else f"it gave the score {largest:.3g}, above 1"
    sums = np.add.reduce(scores, 1)
    worst = sums[0] if len(sums) == 1 else sums[np.abs(sums - 1).argmax()]
    if abs(float(worst) - 1) <= _TOLERANCE:
        return None
    return f"its scores for a clip have the sum {worst:.3g}, not 1"


def find_embedding_problem(embedding: NDArray[np.float32], batch: int) -> str | None:
    """Why an embedding is not one of (batch, dim) finite numbers; None if it is."""
    if embedding.ndim != 2 or len(embedding) != batch or not embedding.shape[1]:
        return f"it gave an embedding of shape {embedding.shape}, expected ({batch}, dim)"
    return None if np.isfinite(embedding).all() else "it gave an embedding that is not finite"
