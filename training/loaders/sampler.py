"""An epoch: which clips it reads in which order, how that is cut, and what the clips hold.

A batch is cut into shards, each with random numbers of its own, so that it does not matter which
process computes which.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# The target of a clip that has none of the labels: a word of another kind, or no word at all.
NO_LABEL = -1
# Between the seeds of a batch's shards; those of epochs are neighbours.
_SHARD_STRIDE = 2**40


@dataclass(frozen=True)
class BatchPlan:
    """How an epoch is cut: into batches, these into ``shards``, of which ``mine`` are computed."""

    batch_size: int
    seed: int
    shards: int = 1
    own_shards: range = range(1)

    def batches(self, n_clips: int) -> int:
        """How many batches an epoch of so many clips has.

        What remains joins the batch before where it is too small for two clips a shard, without
        which batches have no statistics.
        """
        whole, rest = divmod(n_clips, self.batch_size)
        return whole if whole and rest < 2 * self.shards else whole + 1

    def shard_seed(self, shard: int) -> int:
        return self.seed + _SHARD_STRIDE * shard


@dataclass(frozen=True)
class BatchShard:
    """One shard of a batch: features (clips, bins, frames), targets (clips, labels).

    ``share`` is its part of the batch's clips; ``is_last`` that of mine in the batch.
    """

    shard: int
    features: Tensor
    targets: Tensor
    share: float
    is_last: bool


@dataclass(frozen=True)
class Targets:
    """What clips hold: the position of their label (clips,), or which labels (clips, labels) bool.

    ``nothing`` is the value of every label for a clip that has none.
    """

    values: Tensor
    n_labels: int
    no_label_value: float

    @property
    def is_multi_label(self) -> bool:
        """Whether a clip may hold several labels."""
        return self.values.dim() == 2

    def gather(self, rows: Tensor) -> Tensor:
        """Target values (rows, labels) in [0, 1]."""
        picked = self.values[rows.to(self.values.device)]
        if self.is_multi_label:
            return picked.float()
        known = torch.nn.functional.one_hot(picked.clamp_min(0), self.n_labels).float()
        return torch.where((picked == NO_LABEL).unsqueeze(1), self.no_label_value, known)


@dataclass(frozen=True)
class EpochSampler:
    """What an epoch reads: ``rows`` (reads,), each once, or drawn with ``weights`` (reads,)."""

    rows: Tensor
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def shuffled(self, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        if self.weights is None:
            return self.rows[torch.randperm(len(self.rows), generator=generator)]
        # By the inverse of the distribution: torch.multinomial takes 2 ** 24 weights at most.
        ends = self.weights.double().cumsum(0)
        drawn = torch.rand(len(self.rows), generator=generator, dtype=torch.float64) * ends[-1]
        return self.rows[torch.searchsorted(ends, drawn).clamp_max(len(self.rows) - 1)]

    def shard_rows(self, plan: BatchPlan) -> Iterator[tuple[int, Tensor, float, bool]]:
        """(shard, rows, share of its batch, whether it is my last of the batch)."""
        order = self.shuffled(plan.seed)
        n_batches = plan.batches(len(order))
        for number in range(n_batches):
            end = None if number == n_batches - 1 else (number + 1) * plan.batch_size
            batch = order[number * plan.batch_size : end]
            shard_batches = batch.tensor_split(plan.shards)
            for shard in plan.own_shards:
                rows = shard_batches[shard]
                yield shard, rows, len(rows) / len(batch), shard == plan.own_shards[-1]
