"""Layers by name: normalisation, activation and recurrence, the choices that networks share.

``layer`` normalises all channels and positions of a clip together, which is group normalisation
with one group ("Group Normalization", arXiv:1803.08494, figure 2). Over the channels of each
position alone, as transformers do, it would take from every frame how loud it is. It also needs no
transposing, and over vectors the two are the same.
"""

import math
from collections.abc import Callable, Mapping
from typing import Literal, TypeVar

from torch import Tensor, nn
from torch.nn import functional

from earful.data.errors import EarfulError
from earful.models.layers.dropout import Dropout

Normalisation = Literal["none", "batch", "layer", "instance", "group"]
Activation = Literal["relu", "leaky-relu", "prelu", "elu", "sigmoid", "tanh"]
Recurrence = Literal["gru", "lstm"]
# The axes that follow the channels: none in vectors, time in sequences, bands and time in images.
PositionAxes = Literal[0, 1, 2]

_T = TypeVar("_T")

# At most; the paper above has 32 of networks with hundreds of channels. Where the channels do not
# divide by it, their greatest common divisor.
GROUPS = 8


def normalisation(name: str, channels: int, position_axes: PositionAxes) -> nn.Module | None:
    """A layer that normalises (batch, channels, *axes); None for ``none``.

    Raises:
        EarfulError: an unknown name, or ``instance`` of vectors, which have no positions.
    """
    if name == "instance" and position_axes == 0:
        raise EarfulError(
            "norm instance normalises over time, and here there is none left; "
            "take none, batch, layer or group"
        )
    factories: dict[str, Callable[[], nn.Module | None]] = {
        "none": lambda: None,
        "batch": lambda: (VectorBatchNorm, nn.BatchNorm1d, nn.BatchNorm2d)[position_axes](channels),
        "layer": lambda: nn.GroupNorm(1, channels),
        "instance": lambda: (nn.InstanceNorm1d if position_axes == 1 else nn.InstanceNorm2d)(
            channels, affine=True
        ),
        "group": lambda: nn.GroupNorm(math.gcd(GROUPS, channels), channels),
    }
    return _look_up("norm", name, factories)()


def activation(name: str) -> nn.Module:
    """An activation; the slope of ``prelu`` is learnt, one for all channels.

    Raises:
        EarfulError: an unknown name.
    """
    factories: dict[str, Callable[[], nn.Module]] = {
        "relu": nn.ReLU,
        "leaky-relu": nn.LeakyReLU,
        "prelu": nn.PReLU,
        "elu": nn.ELU,
        "sigmoid": nn.Sigmoid,
        "tanh": nn.Tanh,
    }
    return _look_up("activation", name, factories)()


def norm_activation(norm: str, act: str, channels: int, position_axes: PositionAxes) -> list[nn.Module]:
    """What follows a convolution or linear layer of so many channels: norm, then activation."""
    norm_layer = normalisation(norm, channels, position_axes)
    return [activation(act)] if norm_layer is None else [norm_layer, activation(act)]


def norm_pool_activation(
    norm: str, act: str, channels: int, pool: int | tuple[int, int]
) -> list[nn.Module]:
    """What follows a convolution over an image: norm, the highest value of each pool, activation.

    Activations rise with their input, so that the highest value's activation is the highest
    activation: the same as pooling last, and a quarter of the activations to compute. (``prelu``
    may learn to fall; then it is this order that is meant.)
    """
    norm_layer = normalisation(norm, channels, position_axes=2)
    layers: list[nn.Module] = [] if norm_layer is None else [norm_layer]
    return [*layers, nn.MaxPool2d(pool), activation(act)]


def recurrent_layers(
    name: str, inputs: int, hidden: int, layers: int, bidirectional: bool, dropout: float
) -> nn.GRU | nn.LSTM:
    """Recurrent layers (batch, frames, inputs) to (batch, frames, hidden), twice that in two
    directions; with dropout between layers.

    Raises:
        EarfulError: an unknown name, or sizes below one.
    """
    factories: dict[str, type[nn.GRU | nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}
    layer = _look_up("recurrent", name, factories)
    require_positive(hidden=hidden, layers=layers)
    layers_of_cells: nn.GRU | nn.LSTM = layer(
        inputs, hidden, num_layers=layers, batch_first=True, bidirectional=bidirectional,
        dropout=dropout if layers > 1 else 0.0,
    )  # fmt: skip
    return layers_of_cells


def make_dropout(p: float) -> Dropout:
    """Dropout of a share of the values.

    Raises:
        EarfulError: a share that is none.
    """
    if not 0 <= p < 1:
        raise EarfulError(f"dropout must be from 0 to below 1, found {p}")
    return Dropout(p)


def require_positive(**options: int) -> None:
    """See that options that count something are whole numbers above zero.

    Raises:
        EarfulError: one is not.
    """
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise EarfulError(f"{name} must be a whole number of 1 or more, found {value!r}")


class VectorBatchNorm(nn.BatchNorm1d):
    """Of vectors (batch, channels). One clip has no variance: it is normalised as in evaluation."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - the name that torch gave it
        if self.training and len(input) == 1:
            return functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps
            )
        output: Tensor = super().forward(input)
        return output


def _look_up(option: str, name: str, choices: Mapping[str, _T]) -> _T:
    if name not in choices:
        raise EarfulError(f"{option} is one of {', '.join(choices)}, found {name!r}")
    return choices[name]
