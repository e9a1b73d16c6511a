"""Which learning rate to begin with: the loss while the rate grows from step to step.

The range test of "Cyclical Learning Rates for Training Neural Networks" (Smith, arXiv:1506.01186,
section 3.3), with the rate growing by a constant factor: too small a rate learns nothing, one that
suits brings the loss down fastest, too large a one drives it up again.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earful.data.dataset.dataset import Dataset
from earful.models.bundle.device import Device
from earful.models.networks.zoo import require_steps
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.loaders.auxiliary_data import ALONE, Company
from earful.training.loaders.sampler import Cut, Part
from earful.training.trainer.setup import (
    check_settings,
    choose_device,
    first_checkpoint,
    training_batches,
)
from earful.training.trainer.train_step import Learner

LOWEST, HIGHEST, STEPS = 1e-5, 1.0, 300
# Of the running mean: of some twenty steps.
_SMOOTHING = 0.95
# A smaller fall may be chance.
_LEAST_FALL = 0.05
# The loss has left its valley for good when it is so many times all before.
_BLOWN_UP = 3.0
# The fall is looked for where the mean has something to go by.
_FIRST_STEPS = 20


@dataclass(frozen=True)
class RateCurve:
    """Losses (steps,) as they were and smoothed, over their rates (steps,).

    ``suggested`` is where the smoothed loss falls fastest.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]
    suggested: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def find_rate(
    dataset: Dataset,
    config: TrainConfig,
    *,
    company: Company = ALONE,
    device: Device = "auto",
    steps: int = STEPS,
    on_step: Callable[[int, int], None] = lambda done, total: None,
) -> RateCurve:
    """Take so many steps with a fresh network at rates from 1e-5 to 1; nothing is kept of it.

    It ends before them where the loss blows up.

    Raises:
        TrainingError: there is nothing to train on, an optimizer that has no rate to find, or a
            loss that falls by less than a twentieth at any rate.
    """
    if config.optimizer == "lbfgs":
        raise TrainingError("lbfgs looks for the length of its steps itself; leave its rate at 1")
    require_steps(config.model)
    place = choose_device(device)
    check_settings(dataset, config, place)
    config = replace(config, shards=1)
    train = training_batches(dataset, company, config, place)
    learner = Learner.at(first_checkpoint(dataset, train, "", config), train, place)
    rates = np.geomspace(LOWEST, HIGHEST, steps)
    losses: list[float] = []
    for rate, part in zip(rates, _endless(train.parts, config), strict=False):
        losses.append(learner.try_step(part, float(rate)))
        on_step(len(losses), steps)
        smoothed = smooth(losses)
        if not np.isfinite(losses[-1]) or losses[-1] > _BLOWN_UP * smoothed.max():
            break
    return _curve(rates[: len(losses)], losses)


def smooth(losses: list[float]) -> NDArray[np.float64]:
    """The running mean (steps,), without the pull of its beginning at zero."""
    mean, found = 0.0, []
    for step, loss in enumerate(losses, 1):
        mean = _SMOOTHING * mean + (1 - _SMOOTHING) * loss
        found.append(mean / (1 - _SMOOTHING**step))
    return np.array(found)


def _endless(parts: Callable[[Cut], Iterator[Part]], config: TrainConfig) -> Iterator[Part]:
    """Batches of epoch after epoch."""
    for epoch in itertools.count(1):
        yield from parts(Cut(config.batch_size, config.seed * 1_000_003 + epoch))


def _curve(rates: NDArray[np.float64], losses: list[float]) -> RateCurve:
    finite = np.isfinite(losses)
    kept = len(losses) if finite.all() else int(np.argmin(finite))
    rates, smoothed = rates[:kept], smooth(losses[:kept])
    least = int(smoothed.argmin()) + 1
    begin = float(smoothed[: _FIRST_STEPS + 1].mean())
    if least <= _FIRST_STEPS or smoothed[least - 1] > (1 - _LEAST_FALL) * begin:
        raise TrainingError(
            f"in {len(losses)} steps the loss falls at no rate from {LOWEST:g} to {HIGHEST:g}; "
            "give more --steps, or look at the labels (earful check)"
        )
    slopes = np.gradient(smoothed[:least], np.log(rates[:least]))
    steepest = _FIRST_STEPS + int(slopes[_FIRST_STEPS:].argmin())
    return RateCurve(
        tuple(rates.tolist()), tuple(losses[:kept]), tuple(smoothed.tolist()),
        float(f"{rates[steepest]:.2g}"),
    )  # fmt: skip
