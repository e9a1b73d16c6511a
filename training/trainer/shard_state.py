"""Per-shard state, so that the result does not depend on which process computes which shard.

Each shard has its own random numbers (for dropout) and starts from the same batch statistics; after
a batch, the running statistics are averaged over all shards. A single shard needs none of this.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from earful.training.loaders.sampler import BatchPlan
from earful.training.trainer.devices import random_state, set_random_state
from earful.training.trainer.distributed import DistributedContext


class ShardState:
    """Random numbers and batch statistics of this process's shards, for one epoch."""

    def __init__(
        self, network: nn.Module, plan: BatchPlan, dist_context: DistributedContext
    ) -> None:
        self._is_single_shard = plan.shards == 1
        self._dist_context, self._shards = dist_context, plan.shards
        self._device = next(network.parameters()).device
        self._statistics = [] if self._is_single_shard else running_statistics(network)
        self._start_statistics = [values.clone() for values in self._statistics]
        self._sums = [torch.zeros_like(values) for values in self._statistics]
        self._random_states: dict[int, Tensor] = {}
        for shard in reversed(plan.own_shards):
            torch.manual_seed(plan.shard_seed(shard))
            self._random_states[shard] = random_state(self._device)

    @contextlib.contextmanager
    def for_shard(self, shard: int) -> Iterator[None]:
        """The context in which a shard is computed."""
        if self._is_single_shard:
            yield
            return
        set_random_state(self._random_states[shard], self._device)
        for values, before in zip(self._statistics, self._start_statistics, strict=True):
            values.copy_(before)
        yield
        self._random_states[shard] = random_state(self._device)
        for values, total in zip(self._statistics, self._sums, strict=True):
            total.add_(values)

    def average_statistics(self) -> None:
        """After a batch: average its running statistics over all shards and processes."""
        if not self._statistics:
            return
        sizes = [total.numel() for total in self._sums]
        # Concatenated, so that the processes communicate once.
        means = torch.split(self._dist_context.total(torch.cat(self._sums)) / self._shards, sizes)
        for values, mean in zip(self._statistics, means, strict=True):
            values.copy_(mean)
        for before, mean in zip(self._start_statistics, means, strict=True):
            before.copy_(mean)
        for total in self._sums:
            total.zero_()


def running_statistics(network: nn.Module) -> list[Tensor]:
    """The running means and variances of all batch normalisation layers."""
    statistics = []
    for module in network.modules():
        if isinstance(module, _NormBase) and module.running_mean is not None:
            statistics += [module.running_mean, module.running_var]
    return [values for values in statistics if values is not None]
