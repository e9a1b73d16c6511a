"""One epoch of learning: the network, its optimizer, and the running average that is released."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from models.pipeline import NormalisedNetwork
from training.batches import Batches
from training.checkpoint import Checkpoint, EpochRecord, rebuild_network
from training.config import TrainConfig
from training.objectives import Judged, objective_of

WARM_UP_SHARE = 0.15
# One-cycle starts at a 25th of the peak and ends near nothing (arXiv:1708.07120, as in PyTorch).
_START_DIVISOR, _END_DIVISOR = 25.0, 1e4
# The average follows closely while there are few steps to average over.
_AVERAGING_RAMP_STEPS = 20


@dataclass(frozen=True)
class Learner:
    """``network`` learns; ``released`` is its running average, or the same object without one."""

    network: NormalisedNetwork
    released: NormalisedNetwork
    optimizer: torch.optim.Optimizer

    @classmethod
    def at(cls, checkpoint: Checkpoint, device: torch.device) -> Self:
        """As it was when the checkpoint was written."""
        config = checkpoint.config
        released = rebuild_network(checkpoint).to(device)
        network = released
        if config.averaging:
            network = copy.deepcopy(released)
            network.load_state_dict(checkpoint.learning or checkpoint.weights)
        optimizer = torch.optim.AdamW(  # without decay it is Adam
            network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        if checkpoint.optimizer:
            optimizer.load_state_dict(checkpoint.optimizer)
        return cls(network, released, optimizer)

    def train_epoch(
        self,
        train: Batches,
        config: TrainConfig,
        epoch: int,
        on_batch: Callable[[int, int, int], None],
    ) -> tuple[float, float | None]:
        """One pass over the training clips; mean loss and accuracy, as they were while learning.

        The accuracy is None where no clip has an answer.
        """
        seed = config.seed * 1_000_003 + epoch
        torch.manual_seed(seed)  # dropout
        self.network.train()
        n_batches = -(-len(train) // config.batch_size)
        loss_sum, right, answerable = torch.zeros(()), torch.zeros(()), torch.zeros(())
        for done, (features, targets) in enumerate(train.shuffled(config.batch_size, seed), 1):
            step = (epoch - 1) * n_batches + done
            found = self._step(features, targets, config, step, n_batches)
            loss_sum = loss_sum.to(found.loss) + found.loss * len(targets)
            right = right.to(found.right) + found.right
            answerable = answerable.to(found.answerable) + found.answerable
            on_batch(epoch, done, n_batches)
        accuracy = float(right) / float(answerable) if answerable else None
        return float(loss_sum) / len(train), accuracy

    def checkpoint(self, before: Checkpoint, record: EpochRecord) -> Checkpoint:
        """The checkpoint after one more epoch."""
        averaged = self.released is not self.network
        return replace(
            before,
            weights=_to_cpu(self.released.state_dict()),
            learning=_to_cpu(self.network.state_dict()) if averaged else {},
            optimizer=self.optimizer.state_dict(),
            history=(*before.history, record),
        )

    def _step(
        self, features: Tensor, targets: Tensor, config: TrainConfig, step: int, n_batches: int
    ) -> Judged:
        """Learn from one batch."""
        rate = learning_rate(config, step, config.epochs * n_batches)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        judged = objective_of(config.model).judge(self.network, features, targets, config)
        judged.loss.backward()  # type: ignore[no-untyped-call]
        if math.isfinite(config.max_gradient_norm):
            torch.nn.utils.clip_grad_norm_(self.network.parameters(), config.max_gradient_norm)
        self.optimizer.step()
        if self.released is not self.network:
            decay = min(config.averaging, step / (step + _AVERAGING_RAMP_STEPS))
            _average(self.released, self.network, decay)
        return replace(judged, loss=judged.loss.detach())


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """The rate of a step (counted from 1): a function of the step alone, so that runs resume."""
    peak = config.learning_rate
    if config.schedule == "constant":
        return peak
    warm_up = max(1.0, WARM_UP_SHARE * steps)
    if step <= warm_up:
        start, end, share = peak / _START_DIVISOR, peak, step / warm_up
    else:
        start, end = peak, peak / _START_DIVISOR / _END_DIVISOR
        share = (step - warm_up) / max(1.0, steps - warm_up)
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@torch.no_grad()
def _average(average: NormalisedNetwork, network: NormalisedNetwork, decay: float) -> None:
    """Move the average towards the network; whole numbers (counters) are copied."""
    for kept, new in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.dtype.is_floating_point:
            kept.lerp_(new, 1 - decay)
        else:
            kept.copy_(new)


def _to_cpu(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in state.items()}
