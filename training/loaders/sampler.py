"""An epoch: the order of its clips, their batches and shards, and their targets.

A batch is split into shards, each with its own random numbers, so that the result does not depend
on which process computes which shard.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from earful.data.augmentation.device_copy import copy_to_device

# Target of a negative: an out-of-vocabulary word or background noise.
NO_LABEL = -1
# Seeds of a batch's shards are this far apart, since seeds of epochs are consecutive.
_SHARD_STRIDE = 2**40


@dataclass(frozen=True)
class BatchPlan:
    """How an epoch is split: into batches, and each batch into ``shards``.

    ``own_shards`` are those that this process computes.
    """

    batch_size: int
    seed: int
    shards: int = 1
    own_shards: range = range(1)

    def batches(self, n_clips: int) -> int:
        """Number of batches in an epoch of ``n_clips``.

        A remainder of fewer than two clips per shard, too few for batch statistics, is merged into
        the batch before.
        """
        whole, rest = divmod(n_clips, self.batch_size)
        return whole if whole and rest < 2 * self.shards else whole + 1

    def shard_seed(self, shard: int) -> int:
        return self.seed + _SHARD_STRIDE * shard


@dataclass(frozen=True)
class BatchShard:
    """One shard of a batch: features (clips, bins, frames), targets (clips, labels).

    ``share`` is its fraction of the batch's clips; ``is_last`` marks this process's last shard of
    the batch.
    """

    shard: int
    features: Tensor
    targets: Tensor
    share: float
    is_last: bool


@dataclass(frozen=True)
class Targets:
    """Targets of clips: label positions (clips,), or a label matrix (clips, labels) bool.

    ``no_label_value`` is the target value of every label for a clip without a label.
    """

    values: Tensor
    n_labels: int
    no_label_value: float

    @property
    def is_multi_label(self) -> bool:
        """Whether a clip may have several labels."""
        return self.values.dim() == 2

    def gather(self, rows: Tensor) -> Tensor:
        """Target values (rows, labels) in [0, 1]."""
        picked = self.values[copy_to_device(rows, self.values.device)]
        if self.is_multi_label:
            return picked.float()
        known = torch.nn.functional.one_hot(picked.clamp_min(0), self.n_labels).float()
        return torch.where((picked == NO_LABEL).unsqueeze(1), self.no_label_value, known)


@dataclass(frozen=True)
class EpochSampler:
    """The rows of an epoch (reads,): each once, or drawn with replacement by ``weights``."""

    rows: Tensor
    weights: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def shuffled(self, seed: int) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        if self.weights is None:
            return self.rows[torch.randperm(len(self.rows), generator=generator)]
        # Inverse transform sampling: torch.multinomial takes at most 2 ** 24 weights.
        ends = self.weights.double().cumsum(0)
        drawn = torch.rand(len(self.rows), generator=generator, dtype=torch.float64) * ends[-1]
        return self.rows[torch.searchsorted(ends, drawn).clamp_max(len(self.rows) - 1)]

    def shard_rows(self, plan: BatchPlan) -> Iterator[tuple[int, Tensor, float, bool]]:
        """(shard, rows, share of its batch, whether it is this process's last of the batch)."""
        order = self.shuffled(plan.seed)
        n_batches = plan.batches(len(order))
        for number in range(n_batches):
            end = None if number == n_batches - 1 else (number + 1) * plan.batch_size
            batch = order[number * plan.batch_size : end]
            shard_batches = batch.tensor_split(plan.shards)
            for shard in plan.own_shards:
                rows = shard_batches[shard]
                yield shard, rows, len(rows) / len(batch), shard == plan.own_shards[-1]
