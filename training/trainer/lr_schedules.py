"""Learning rate schedules: functions of the step and the epochs before it, so that runs resume.

constant   the given rate
step       times ``schedule_factor`` after every ``schedule_epochs`` epochs
plateau    times ``schedule_factor`` whenever the validation loss has not fallen for
           ``schedule_epochs`` epochs
cosine     half a cosine down to zero (arXiv:1608.03983, without restarts)
one-cycle  warm-up over 15 % of the steps, then down by a cosine (arXiv:1708.07120)
"""

import math
from collections.abc import Sequence

from earful.training.config.train_config import TrainConfig

WARM_UP_SHARE = 0.15
# One-cycle starts at 1/25 of the peak and ends at 1e-4 of that (as in PyTorch's OneCycleLR).
_START_DIVISOR, _END_DIVISOR = 25.0, 1e4


def learning_rate(
    config: TrainConfig, step: int, n_batches: int, val_losses: Sequence[float] = ()
) -> float:
    """The learning rate of a step, counted from 1, with ``n_batches`` batches an epoch.

    ``val_losses`` are the validation losses of the epochs before.
    """
    peak, steps = config.learning_rate, config.epochs * n_batches
    match config.schedule:
        case "constant":
            return peak
        case "step":
            drops = ((step - 1) // n_batches) // config.schedule_epochs
            return peak * config.schedule_factor**drops
        case "plateau":
            return peak * config.schedule_factor ** _count_plateaus(
                val_losses, config.schedule_epochs
            )
        case "cosine":
            return peak * (1 + math.cos(math.pi * (step - 1) / steps)) / 2
        case "one-cycle":
            return _one_cycle(peak, step, steps)


def _count_plateaus(val_losses: Sequence[float], patience: int) -> int:
    """How often the validation loss has not fallen for ``patience`` epochs."""
    best, waited, plateaus = math.inf, 0, 0
    for loss in val_losses:
        if loss < best:
            best, waited = loss, 0
        else:
            waited += 1
        if waited == patience:
            plateaus, waited = plateaus + 1, 0
    return plateaus


def _one_cycle(peak: float, step: int, steps: int) -> float:
    warm_up = max(1.0, WARM_UP_SHARE * steps)
    if step <= warm_up:
        start, end, share = peak / _START_DIVISOR, peak, step / warm_up
    else:
        start, end = peak, peak / _START_DIVISOR / _END_DIVISOR
        share = (step - warm_up) / max(1.0, steps - warm_up)
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
