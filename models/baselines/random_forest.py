"""A random forest on pooled features, as products of turns instead of walks down the trees.

"Random Forests" (Breiman, Machine Learning 45, 2001); probabilities are the mean of those of the
leaves that a clip reaches. A step is replaced by a ramp a hundredth of a standard deviation wide,
so that a clip on the edge of a decision reaches both sides in part: rounding, which differs between
machines, then moves a score a little where it would move a clip to another leaf. Elsewhere the
answers are those of the trees.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from models.fitted import Fitted, PooledBaseline
from models.layers import require_positive

# Of the decisions, in standard deviations of a pooled feature.
RAMP = 0.01
# What no leaf has seen is not impossible: a logarithm is taken of it.
LEAST_PROBABILITY = 1e-3


@dataclass(frozen=True)
class RandomForestConfig:
    """Options of ``RandomForest``: how many ``trees``, of how many decisions at most.

    Raises:
        EarshotError: a number that is none.
    """

    trees: int = 100
    depth: int = 12

    def __post_init__(self) -> None:
        require_positive(trees=self.trees, depth=self.depth)


class RandomForest(PooledBaseline):
    """Features (batch, bins, frames) to logits (batch, labels): logarithms of probabilities."""

    head: "Trees"

    def __init__(self, bins: int, frames: int, n_labels: int, config: RandomForestConfig) -> None:
        del frames, config  # they count while it is fitted
        super().__init__(bins, Trees(n_labels))


class Trees(Fitted):
    """All trees side by side.

    feature, threshold   (nodes,) a decision: left where the feature is not above the threshold
    path                 (depth, leaves) the turns that lead to a leaf, as positions in what
                         ``_turns`` returns; short paths end with turns that are always taken
    share                (leaves, labels) of the training clips in a leaf, over the number of trees
    """

    feature: Tensor
    threshold: Tensor
    path: Tensor
    share: Tensor

    def __init__(self, n_labels: int) -> None:
        super().__init__()
        self.register_buffer("feature", torch.zeros(1, dtype=torch.long))
        self.register_buffer("threshold", torch.zeros(1))
        self.register_buffer("path", torch.full((1, 1), 2))
        self.register_buffer("share", torch.full((1, n_labels), 1 / n_labels))

    def multiply_adds(self) -> int:
        """Of the decisions, the turns of all paths, and the mean over all leaves."""
        return self.threshold.numel() + self.path.numel() + self.share.numel()

    def probabilities(self, embedding: Tensor) -> Tensor:
        """(batch, labels) of embeddings (batch, size)."""
        turns = self._turns(embedding)
        first, *others = self.path.unbind(0)
        # index_select and not [:, turn], which the ONNX exporter makes slow transposes of
        reach = turns.index_select(1, first)  # (batch, leaves)
        for turn in others:
            reach = reach * turns.index_select(1, turn)
        return reach @ self.share

    def forward(self, embedding: Tensor) -> Tensor:
        return self.probabilities(embedding).clamp_min(LEAST_PROBABILITY).log()

    def _turns(self, embedding: Tensor) -> Tensor:
        """How far each turn is taken, (batch, 2 * nodes + 1): all left, all right, and always."""
        above = (self.threshold - embedding.index_select(1, self.feature)) / RAMP
        left = (above + 0.5).clamp(0, 1)
        return torch.cat([left, 1 - left, torch.ones_like(left[:, :1])], dim=1)
