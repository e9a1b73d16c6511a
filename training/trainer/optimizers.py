"""PyTorch's optimizers by name.

sgd       plain stochastic gradient descent
momentum  sgd with momentum (Polyak, 1964)
nesterov  sgd with Nesterov momentum (Nesterov, 1983)
adagrad   per-weight learning rates (Duchi et al., JMLR 12, 2011)
adadelta  adagrad over a window, in units of the weights (arXiv:1212.5701); use rates near 1
rmsprop   gradients over their moving root mean square (Tieleman and Hinton, 2012)
adam      rmsprop with momentum, both bias-corrected (arXiv:1412.6980)
adamw     adam with decoupled weight decay (arXiv:1711.05101)
lbfgs     quasi-Newton steps with a line search (Liu and Nocedal, 1989), for small networks and
          large batches; a step evaluates its batch up to 25 times; use rates near 1
"""

from collections.abc import Callable
from typing import Any

import torch

from earful.models.layers.normalise import NormalisedNetwork
from earful.training.config.train_config import Optimizer, TrainConfig, TrainingError

# L-BFGS keeps a history of ten pairs of vectors of this length.
LBFGS_MAX_PARAMETERS = 250_000
_LBFGS = {"history_size": 10, "max_iter": 20, "line_search_fn": "strong_wolfe"}


RATE_SCALE = "rate_scale"  # of a parameter group, relative to the learning rate of the run


def build_optimizer(network: NormalisedNetwork, config: TrainConfig) -> torch.optim.Optimizer:
    """The optimizer of ``config`` for all weights of a network, grouped by their rate scale.

    Raises:
        TrainingError: L-BFGS with a network that is too large, or with an unsupported setting.
    """
    weights = list(network.parameters())
    if config.optimizer == "lbfgs":
        _check_lbfgs(sum(p.numel() for p in weights), config)
        return torch.optim.LBFGS(weights, lr=config.learning_rate, **_LBFGS)  # type: ignore[arg-type]
    return _CONSTRUCTORS[config.optimizer](
        _parameter_groups(network),
        lr=config.learning_rate,
        weight_decay=config.weight_decay,
        **_momentum(config),
    )


def _parameter_groups(network: NormalisedNetwork) -> list[dict[str, Any]]:
    scales = network.network.rate_scales()
    scaled = {id(weights) for module in scales for weights in module.parameters()}
    rest = [weights for weights in network.parameters() if id(weights) not in scaled]
    groups = [(rest, 1.0), *((list(module.parameters()), s) for module, s in scales.items())]
    return [{"params": weights, RATE_SCALE: scale} for weights, scale in groups]


_CONSTRUCTORS: dict[Optimizer, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "momentum": torch.optim.SGD,
    "nesterov": torch.optim.SGD,
    "adagrad": torch.optim.Adagrad,
    "adadelta": torch.optim.Adadelta,
    "rmsprop": torch.optim.RMSprop,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def _momentum(config: TrainConfig) -> dict[str, Any]:
    if config.optimizer not in ("momentum", "nesterov"):
        return {}
    return {"momentum": config.momentum, "nesterov": config.optimizer == "nesterov"}


def _check_lbfgs(n_parameters: int, config: TrainConfig) -> None:
    if n_parameters > LBFGS_MAX_PARAMETERS:
        raise TrainingError(
            f"lbfgs is for networks of {LBFGS_MAX_PARAMETERS:,} parameters or fewer, this one has "
            f"{n_parameters:,}; use another --optimizer"
        )
    unsupported = {
        "weight_decay": config.weight_decay > 0,
        "shards": config.shards > 1,
        "grad_clip": config.grad_clip is not None,
    }
    refused = [name for name, is_set in unsupported.items() if is_set]
    if refused:
        raise TrainingError(
            f"lbfgs does not support {', '.join(refused)}; leave it out, or use another --optimizer"
        )
