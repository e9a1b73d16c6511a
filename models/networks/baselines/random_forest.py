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

from earful.models.layers.blocks import require_positive
from earful.models.networks.baselines.fitted import Fitted, PooledBaseline

# Of the decisions, in standard deviations of a pooled feature.
RAMP = 0.01
# What no leaf has seen is not impossible: a logarithm is taken of it.
LEAST_PROBABILITY = 1e-3


@dataclass(frozen=True)
class RandomForestConfig:
    """Options of ``RandomForest``: how many ``trees``, of how many decisions at most.

    Raises:
        EarfulError: a number that is none.
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
    """All trees side by side, level by level from their roots.

    feature, threshold   (decisions,) of one level after the other: left where the feature is not
                         above the threshold
    share                (2 * decisions, labels) for each level the nodes to the left of all its
                         decisions, then those to the right: of a leaf the labels' shares over the
                         number of trees, of a decision nothing
    decides              (decisions after the first level,) which of a level's nodes are decisions
    width                (levels,) how many decisions a level has
    """

    feature: Tensor
    threshold: Tensor
    share: Tensor
    decides: Tensor
    width: Tensor

    def __init__(self, n_labels: int) -> None:
        super().__init__()
        self.register_buffer("feature", torch.zeros(1, dtype=torch.long))
        self.register_buffer("threshold", torch.zeros(1))
        self.register_buffer("share", torch.full((2, n_labels), 1 / n_labels))
        self.register_buffer("decides", torch.zeros(0, dtype=torch.long))
        self.register_buffer("width", torch.ones(1, dtype=torch.long))
        self.resized()

    def resized(self) -> None:
        """Plain numbers, since the sizes of a graph are none of its values."""
        self._widths: list[int] = self.width.tolist()

    def multiply_adds(self) -> int:
        """Of all decisions, of how far each node is reached, and of the mean over the trees."""
        return self.threshold.numel() + len(self.share) + self.share.numel()

    def probabilities(self, embedding: Tensor) -> Tensor:
        """(batch, labels) of embeddings (batch, size)."""
        # index_select and not [:, feature], which the ONNX exporter makes slow transposes of
        below = (self.threshold - embedding.index_select(1, self.feature)) / RAMP
        left = (below + 0.5).clamp(0, 1)  # (batch, decisions): how far it is gone to the left
        found: list[Tensor] = []
        reach = torch.ones_like(left[:, : self._widths[0]])
        start, kept = 0, 0
        for width, following in zip(self._widths, [*self._widths[1:], 0], strict=True):
            end = start + width
            to_left = reach * left[:, start:end]
            nodes = torch.cat([to_left, reach - to_left], dim=1)  # (batch, 2 * width)
            found.append(nodes @ self.share[2 * start : 2 * end])
            reach = nodes.index_select(1, self.decides[kept : kept + following])
            start, kept = end, kept + following
        return torch.stack(found).sum(dim=0)

    def forward(self, embedding: Tensor) -> Tensor:
        return self.probabilities(embedding).clamp_min(LEAST_PROBABILITY).log()
