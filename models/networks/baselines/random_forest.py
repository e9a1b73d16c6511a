"""A random forest on pooled features, evaluated by matrix products instead of walks down the trees.

"Random Forests" (Breiman, Machine Learning 45, 2001); probabilities are the mean over the leaves
that a clip reaches. Each split is a ramp a hundredth of a standard deviation wide instead of a
step, so a clip at a threshold reaches both sides in part: rounding, which differs between machines,
then changes a score a little instead of moving the clip to another leaf. Elsewhere the
probabilities equal those of the trees.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from earful.models.layers.blocks import require_positive
from earful.models.networks.baselines.fitted import FittedModule, PooledBaseline

# Width of a split's ramp, in standard deviations of a pooled feature.
RAMP = 0.01
# Keeps the logarithm finite for labels that no reached leaf has.
MIN_PROBABILITY = 1e-3


@dataclass(frozen=True)
class RandomForestConfig:
    """Options of ``RandomForest``: number of ``trees`` and their largest ``depth``.

    Raises:
        EarfulError: a number below 1.
    """

    trees: int = 100
    depth: int = 12

    def __post_init__(self) -> None:
        require_positive(trees=self.trees, depth=self.depth)


class RandomForest(PooledBaseline):
    """Features (batch, bins, frames) to logits (batch, labels): logarithms of probabilities."""

    head: "Trees"

    def __init__(self, bins: int, frames: int, n_labels: int, config: RandomForestConfig) -> None:
        del frames, config  # the options are used by the fit only
        super().__init__(bins, Trees(n_labels))


class Trees(FittedModule):
    """All trees side by side, level by level from their roots.

    feature, threshold   (splits,) of one level after the other; a clip goes left where the feature
                         is not above the threshold
    leaf_values          (2 * splits, labels) for each level the left children of all its splits,
                         then the right children: label frequencies over the number of trees in a
                         leaf, zeros in a split
    split_nodes          (splits after the first level,) which of a level's children are splits
    splits_per_level     (levels,)
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
        """Keep sizes as Python integers: those of an exported graph cannot depend on tensors."""
        self._splits_per_level: list[int] = self.splits_per_level.tolist()

    def multiply_adds(self) -> int:
        """All splits, the share of a clip that reaches each node, and the mean over the trees."""
        return self.threshold.numel() + len(self.leaf_values) + self.leaf_values.numel()

    def probabilities(self, embedding: Tensor) -> Tensor:
        """(batch, labels) of embeddings (batch, size)."""
        # Not [:, feature], which the ONNX exporter turns into slow transposes.
        below = (self.threshold - embedding.index_select(1, self.feature)) / RAMP
        left = (below + 0.5).clamp(0, 1)  # (batch, splits): the share that goes left
        level_probabilities: list[Tensor] = []
        reached = torch.ones_like(left[:, : self._splits_per_level[0]])
        start, split_start = 0, 0
        for width, next_width in zip(
            self._splits_per_level, [*self._splits_per_level[1:], 0], strict=True
        ):
            end = start + width
            to_left = reached * left[:, start:end]
            nodes = torch.cat([to_left, reached - to_left], dim=1)  # (batch, 2 * width)
            level_probabilities.append(nodes @ self.leaf_values[2 * start : 2 * end])
            split_end = split_start + next_width
            reached = nodes.index_select(1, self.split_nodes[split_start:split_end])
            start, split_start = end, split_end
        return torch.stack(level_probabilities).sum(dim=0)

    def forward(self, embedding: Tensor) -> Tensor:
        return self.probabilities(embedding).clamp_min(MIN_PROBABILITY).log()
