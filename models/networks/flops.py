"""The cost of a network: multiply-adds of one clip, counted during a forward pass."""

from typing import Any

import torch
from torch import Tensor, nn

from earful.models.layers.base import Network
from earful.models.networks.baselines.fitted import FittedModule


def multiply_adds(network: Network, bins: int, frames: int) -> int:
    """Multiply-adds of convolutions, linear and recurrent layers for features (1, bins, frames).

    Normalisation, activations and pooling are not counted, as in papers on keyword spotting. Fitted
    modules report their own count.
    """
    total = 0

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Any) -> None:
        nonlocal total
        if isinstance(module, FittedModule):
            total += module.multiply_adds()
        elif isinstance(module, nn.RNNBase):
            steps = inputs[0].shape[0] * inputs[0].shape[1]
            total += steps * sum(p.numel() for p in module.parameters() if p.dim() == 2)
        elif isinstance(module, nn.ConvTranspose2d):
            # Each input value is multiplied by one row of the weights.
            total += inputs[0].numel() * module.weight[0].numel()
        elif isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            # Each output value is the product of one row of the weights and as many inputs.
            total += output.numel() * module.weight[0].numel()

    hooks = [module.register_forward_hook(count) for module in network.modules()]
    was_training = network.training
    try:
        with torch.inference_mode():
            network.eval()(torch.zeros(1, bins, frames))
    finally:
        network.train(was_training)
        for hook in hooks:
            hook.remove()
    return total
