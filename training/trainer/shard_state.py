"""What each shard of a batch has for itself, whichever process computes it.

Random numbers (of dropout), and the batch statistics that it begins with: after a batch the running
statistics of all shards are averaged. So the result does not depend on how many processes share the
shards. With one shard nothing of it is needed.
"""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from earful.training.loaders.sampler import BatchPlan
from earful.training.trainer.distributed import DistributedContext


class ShardState:
    """Of the shards that this process computes, for one epoch."""

    def __init__(self, network: nn.Module, plan: BatchPlan, dist_context: DistributedContext) -> None:
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
        """Compute a shard."""
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
        """The batch is through: average its statistics over all shards."""
        if not self._statistics:
            return
        sizes = [total.numel() for total in self._sums]
        means = self._dist_context.total(torch.cat(self._sums)) / self._shards  # one exchange for all
        for values, before, total, mean in zip(
            self._statistics, self._start_statistics, self._sums, torch.split(means, sizes), strict=True
        ):
            values.copy_(mean)
            before.copy_(mean)
            total.zero_()


def random_state(device: torch.device) -> Tensor:
    """Where the random numbers of a device are."""
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def set_random_state(state: Tensor, device: torch.device) -> None:
    """Go on with the random numbers of a device from there."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    else:
        torch.set_rng_state(state)


def running_statistics(network: nn.Module) -> list[Tensor]:
    """The means and variances that batch normalisation keeps."""
    found = []
    for module in network.modules():
        if isinstance(module, _NormBase) and module.running_mean is not None:
            found += [module.running_mean, module.running_var]
    return [values for values in found if values is not None]
