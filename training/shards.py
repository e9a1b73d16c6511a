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

from training.batches import Cut
from training.team import Team


class ShardState:
    """Of the shards that this process computes, for one epoch."""

    def __init__(self, network: nn.Module, cut: Cut, team: Team) -> None:
        self._alone = cut.shards == 1
        self._team, self._shards = team, cut.shards
        self._device = next(network.parameters()).device
        self._running = [] if self._alone else _running_statistics(network)
        self._before = [values.clone() for values in self._running]
        self._sums = [torch.zeros_like(values) for values in self._running]
        self._random: dict[int, Tensor] = {}
        for shard in reversed(cut.mine):
            torch.manual_seed(cut.shard_seed(shard))
            self._random[shard] = self._random_state()

    @contextlib.contextmanager
    def of(self, shard: int) -> Iterator[None]:
        """Compute a shard."""
        if self._alone:
            yield
            return
        self._set_random_state(self._random[shard])
        for values, before in zip(self._running, self._before, strict=True):
            values.copy_(before)
        yield
        self._random[shard] = self._random_state()
        for values, total in zip(self._running, self._sums, strict=True):
            total.add_(values)

    def settle(self) -> None:
        """The batch is through: average its statistics over all shards."""
        for values, before, total in zip(self._running, self._before, self._sums, strict=True):
            values.copy_(self._team.total(total) / self._shards)
            before.copy_(values)
            total.zero_()

    def _random_state(self) -> Tensor:
        if self._device.type == "cuda":
            return torch.cuda.get_rng_state(self._device)
        return torch.get_rng_state()

    def _set_random_state(self, state: Tensor) -> None:
        if self._device.type == "cuda":
            torch.cuda.set_rng_state(state, self._device)
        else:
            torch.set_rng_state(state)


def _running_statistics(network: nn.Module) -> list[Tensor]:
    found = []
    for module in network.modules():
        if isinstance(module, _NormBase) and module.running_mean is not None:
            found += [module.running_mean, module.running_var]
    return [values for values in found if values is not None]
