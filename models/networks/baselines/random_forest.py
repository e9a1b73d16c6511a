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
from earful.models.networks.baselines.fitted import FittedModule, PooledBaseline

# Of the decisions, in standard deviations of a pooled feature.
RAMP = 0.01
# What no leaf has seen is not impossible: a logarithm is taken of it.
MIN_PROBABILITY = 1e-3


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


class Trees(FittedModule):
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
    leaf_values: Tensor
    split_nodes: Tensor
    splits_per_level: Tensor

    def __init__(self, n_labels: int) -> None:
        super().__init__()
        self.register_buffer("feature", torch.zeros(1, dtype=torch.long))
        self.register_buffer("threshold", torch.zeros(1))
        self.register_buffer("leaf_values", torch.full((2, n_labels), 1 / n_labels))
        self.register_buffer("split_nodes", torch.zeros(0, dtype=torch.long))
        self.register_buffer("splits_per_level", torch.ones(1, dtype=torch.long))
        self.on_buffers_set()

    def on_buffers_set(self) -> None:
        """Plain numbers, since the sizes of a graph are none of its values."""
        self._splits_per_level: list[int] = self.splits_per_level.tolist()

    def multiply_adds(self) -> int:
        """Of all decisions, of how far each node is reached, and of the mean over the trees."""
        return self.threshold.numel() + len(self.leaf_values) + self.leaf_values.numel()

    def probabilities(self, embedding: Tensor) -> Tensor:
        """(batch, labels) of embeddings (batch, size)."""
        # index_select and not [:, feature], which the ONNX exporter makes slow transposes of
        below = (self.threshold - embedding.index_select(1, self.feature)) / RAMP
        left = (below + 0.5).clamp(0, 1)  # (batch, decisions): how far it is gone to the left
        level_probabilities: list[Tensor] = []
        reached = torch.ones_like(left[:, : self._splits_per_level[0]])
        start, kept = 0, 0
        for width, next_width in zip(
            self._splits_per_level, [*self._splits_per_level[1:], 0], strict=True
        ):
            end = start + width
            to_left = reached * left[:, start:end]
            nodes = torch.cat([to_left, reached - to_left], dim=1)  # (batch, 2 * width)
            level_probabilities.append(nodes @ self.leaf_values[2 * start : 2 * end])
            reached = nodes.index_select(1, self.split_nodes[kept : kept + next_width])
            start, kept = end, kept + next_width
        return torch.stack(level_probabilities).sum(dim=0)

    def forward(self, embedding: Tensor) -> Tensor:
        return self.probabilities(embedding).clamp_min(MIN_PROBABILITY).log()
