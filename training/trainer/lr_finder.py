"""The learning rate range test: the loss while the rate grows from step to step.

From "Cyclical Learning Rates for Training Neural Networks" (Smith, arXiv:1506.01186, section 3.3),
with the rate growing by a constant factor. A rate that is too small does not lower the loss, a good
one lowers it fastest, and one that is too large raises it again.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earful.data.dataset.dataset import Dataset
from earful.models.bundle.device import TrainingDevice
from earful.models.networks.zoo import require_gradient_training
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.loaders.auxiliary_data import NO_AUXILIARY_DATA, AuxiliaryData
from earful.training.loaders.sampler import BatchPlan, BatchShard
from earful.training.trainer.devices import choose_device
from earful.training.trainer.setup import (
    check_settings,
    initial_checkpoint,
    training_loader,
)
from earful.training.trainer.train_step import TrainStep

MIN_RATE, MAX_RATE, DEFAULT_STEPS = 1e-5, 1.0, 300
# Decay of the running mean: it averages over about twenty steps.
_SMOOTHING = 0.95
# A smaller relative drop of the loss may be chance.
_MIN_LOSS_DROP = 0.05
# The test ends when the loss exceeds this multiple of the largest smoothed loss.
_DIVERGED_FACTOR = 3.0
# Steps before the running mean is reliable; no rate is suggested from these.
_BURN_IN_STEPS = 20


@dataclass(frozen=True)
class LearningRateCurve:
    """Losses (steps,), raw and smoothed, over learning rates (steps,).

    ``suggested`` is where the smoothed loss falls fastest.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggested: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def find_learning_rate(
    dataset: Dataset,
    config: TrainConfig,
    *,
    auxiliary: AuxiliaryData = NO_AUXILIARY_DATA,
    device: TrainingDevice = "auto",
    steps: int = DEFAULT_STEPS,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> LearningRateCurve:
    """Train a new network for at most ``steps`` steps at rates from 1e-5 to 1; write nothing.

    Stops early when the loss diverges.

    Raises:
        TrainingError: there is nothing to train on, the optimizer is L-BFGS, or the loss falls by
            less than 5 % at every rate.
    """
    if config.optimizer == "lbfgs":
        raise TrainingError(
            "lbfgs finds its step length by line search and needs no other learning rate than 1; "
            "use another --optimizer"
        )
    require_gradient_training(config.model)
    torch_device = choose_device(device)
    check_settings(dataset, config, torch_device)
    config = replace(config, shards=1)
    train = training_loader(dataset, auxiliary, config, torch_device)
    train_step = TrainStep.from_checkpoint(
        initial_checkpoint(dataset, train, "", config), train, torch_device
    )
    rates = np.geomspace(MIN_RATE, MAX_RATE, steps)
    losses: list[float] = []
    for rate, batch_shard in zip(rates, _endless_batches(train.batch_shards, config), strict=False):
        losses.append(train_step.single_step(batch_shard, float(rate)))
        on_step(len(losses), steps)
        smoothed = running_mean(losses)
        if not np.isfinite(losses[-1]) or losses[-1] > _DIVERGED_FACTOR * smoothed.max():
            break
    return _curve(rates[: len(losses)], losses)


def running_mean(losses: list[float]) -> NDArray[np.float64]:
    """Exponential running mean (steps,), corrected for its initial value of zero."""
    mean, means = 0.0, []
    for step, loss in enumerate(losses, 1):
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        means.append(mean / (1 - _SMOOTHING**step))
    return np.array(means)


def _endless_batches(
    batch_shards: Callable[[BatchPlan], Iterator[BatchShard]], config: TrainConfig
) -> Iterator[BatchShard]:
    """Batches of one epoch after another."""
    for epoch in itertools.count(1):
        yield from batch_shards(BatchPlan(config.batch_size, config.seed * 1_000_003 + epoch))


def _curve(rates: NDArray[np.float64], losses: list[float]) -> LearningRateCurve:
    finite = np.isfinite(losses)
    n_finite = len(losses) if finite.all() else int(np.argmin(finite))
    rates, smoothed = rates[:n_finite], running_mean(losses[:n_finite])
    minimum = int(smoothed.argmin()) + 1
    initial_loss = float(smoothed[: _BURN_IN_STEPS + 1].mean())
    if minimum <= _BURN_IN_STEPS or smoothed[minimum - 1] > (1 - _MIN_LOSS_DROP) * initial_loss:
        raise TrainingError(
            f"the loss does not fall at any learning rate from {MIN_RATE:g} to {MAX_RATE:g} in "
            f"{len(losses)} steps; give more --steps, or check the labels with `earful check`"
        )
    slopes = np.gradient(smoothed[:minimum], np.log(rates[:minimum]))
    steepest = _BURN_IN_STEPS + int(slopes[_BURN_IN_STEPS:].argmin())
    return LearningRateCurve(
        rates=tuple(rates.tolist()),
        losses=tuple(losses[:n_finite]),
        smoothed=tuple(smoothed.tolist()),
        suggested=float(f"{rates[steepest]:.2g}"),
    )
