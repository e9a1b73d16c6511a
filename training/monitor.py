"""How well every layer learns: units that are dead, and gradients that vanish."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LayerHealth:
    """One layer, on a batch of training clips after an epoch.

    ``dead_share`` is the share of its activation's units that no clip moves (ReLU and its kin:
    never above zero; sigmoid and tanh: always at their ends); None where there is no activation.
    ``gradient_rms`` is the root mean square of the gradient of its weights; None without weights.
    """

    name: str
    dead_share: float | None
    gradient_rms: float | None
