"""Health of each layer: dead units and vanishing gradients."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

# Clips of a training batch that the layers are measured on.
PROBE_CLIPS = 64
# A layer with this share of dead units is warned about.
DEAD_SHARE = 0.5
# Share of the largest layer gradient; healthy networks of the zoo stay above 1e-2.
VANISHING_SHARE = 1e-4
# A sigmoid or tanh this close to its limits has almost no gradient.
_SATURATED = 0.01


@dataclass(frozen=True)
class LayerHealth:
    """One layer, measured on a batch of training clips after an epoch.

    ``dead_share`` is the share of its activation's units that are constant on all clips (ReLU:
    never above zero; ELU: always at its lower limit; sigmoid and tanh: at a limit); None without an
    activation, or with one that has no dead units (leaky ReLU, PReLU).
    ``gradient_rms`` is the root mean square of the gradient of its weights; None without
    weights, or where it is not finite.
    """

    name: str
    dead_share: float | None
    gradient_rms: float | None


def measure_layer_health(
    network: nn.Module, features: Tensor, loss: Callable[[Tensor], Tensor]
) -> tuple[LayerHealth, ...]:
    """Measure each layer with weights or an activation on raw features (clips, bins, frames).

    ``loss`` computes the training loss of the features. The network runs in evaluation mode, so
    that nothing changes but the gradients, which are left empty.
    """
    alive: dict[str, Tensor] = {}
    hooks = [
        module.register_forward_hook(_recording_hook(name, probe, alive))
        for name, module in network.named_modules()
        if (probe := _aliveness_test(module)) is not None
    ]
    was_training = network.training
    network.eval()
    network.zero_grad(set_to_none=True)
    try:
        # cuDNN's recurrent layers have no backward in evaluation mode.
        with torch.backends.cudnn.flags(enabled=False):
            loss(features[:PROBE_CLIPS]).backward()  # type: ignore[no-untyped-call]
        return _collect_health(network, alive)
    finally:
        network.train(was_training)
        network.zero_grad(set_to_none=True)
        for hook in hooks:
            hook.remove()


def layer_warnings(layers: Sequence[LayerHealth]) -> list[str]:
    """A sentence for each problem of the layers."""
    messages = [
        f"{100 * layer.dead_share:.0f} % of the units of {layer.name} are dead: they output a "
        "constant (a lower --learning-rate, or --activation leaky-relu or elu, may help)"
        for layer in layers
        if layer.dead_share is not None and layer.dead_share >= DEAD_SHARE
    ]
    gradients = [(x.name, x.gradient_rms) for x in layers if x.gradient_rms is not None]
    max_rms = max((rms for _, rms in gradients), default=0.0)
    weak = [name for name, rms in gradients if rms < VANISHING_SHARE * max_rms]
    if weak:
        messages.append(
            f"the gradients of {', '.join(weak)} vanish: below {VANISHING_SHARE:g} of the largest "
            "layer gradient (--activation relu, or --norm batch, may help)"
        )
    return messages


def warning_key(warning: str) -> str:
    """A warning without its percentages, which change from epoch to epoch."""
    return re.sub(r"[\d.]+ %", "", warning)


def _aliveness_test(module: nn.Module) -> Callable[[Tensor], Tensor] | None:
    """The test of which outputs of an activation are alive; None if it has no dead units."""
    match module:
        case nn.ReLU():
            return lambda out: out > 0
        case nn.ELU():
            return lambda out: out > -1 + _SATURATED
        case nn.Sigmoid():
            return lambda out: (out > _SATURATED) & (out < 1 - _SATURATED)
        case nn.Tanh():
            return lambda out: out.abs() < 1 - _SATURATED
        case _:
            return None


def _recording_hook(
    name: str, probe: Callable[[Tensor], Tensor], alive: dict[str, Tensor]
) -> Callable[[nn.Module, Any, Tensor], None]:
    def record_units(module: nn.Module, inputs: Any, output: Tensor) -> None:
        del module, inputs
        # A unit is a channel (axis 1); it is alive if any clip and position makes it so.
        units = probe(output.detach()).transpose(0, 1).flatten(1).any(dim=1)
        alive[name] = alive[name] | units if name in alive else units

    return record_units


def _collect_health(network: nn.Module, alive: dict[str, Tensor]) -> tuple[LayerHealth, ...]:
    health = []
    for name, module in network.named_modules():
        own = [p.grad for p in module.parameters(recurse=False) if p.grad is not None and p.dim()]
        weights = [gradient for gradient in own if gradient.dim() > 1]
        if name not in alive and not weights:
            continue
        dead = None if name not in alive else float((~alive[name]).float().mean())
        rms = None
        if weights:
            squares = torch.stack([gradient.square().sum() for gradient in weights]).sum()
            mean = float((squares / sum(g.numel() for g in weights)).sqrt())
            rms = mean if math.isfinite(mean) else None
        health.append(LayerHealth(name.removeprefix("network."), dead, rms))
    return tuple(health)
