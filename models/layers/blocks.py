"""Layers by name: the choices of normalisation, activation and recurrence that networks share.

``layer`` normalises over all channels and positions of a clip, which is group normalisation with
one group ("Group Normalization", arXiv:1803.08494, figure 2). Normalising over the channels of each
position, as transformers do, would remove the loudness of every frame. One group also needs no
transposing, and for vectors the two are the same.
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
# Number of axes after the channels: 0 in vectors, 1 (time) in sequences, 2 (bins, time) in images.
PositionAxes = Literal[0, 1, 2]

_T = TypeVar("_T")

# At most; the paper above has 32 in networks with hundreds of channels. If it does not divide the
# number of channels, their greatest common divisor is used.
GROUPS = 8


def normalisation(name: str, channels: int, position_axes: PositionAxes) -> nn.Module | None:
    """A layer that normalises (batch, channels, *positions); None for ``none``.

    Raises:
        EarfulError: an unknown name, or ``instance`` for vectors, which have no positions.
    """
    if name == "instance" and position_axes == 0:
        raise EarfulError(
            "norm 'instance' needs a time axis, and pooled features have none; "
            "choose none, batch, layer or group"
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
    """An activation layer; ``prelu`` learns one slope for all channels.

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


def norm_activation(
    norm: str, act: str, channels: int, position_axes: PositionAxes
) -> list[nn.Module]:
    """Normalisation, then activation: the layers after a convolution or linear layer."""
    norm_layer = normalisation(norm, channels, position_axes)
    return [activation(act)] if norm_layer is None else [norm_layer, activation(act)]


def norm_pool_activation(
    norm: str, act: str, channels: int, pool: int | tuple[int, int]
) -> list[nn.Module]:
    """Normalisation, max pooling, then activation: the layers after a convolution over an image.

    Activations are increasing functions, so pooling first gives the same values as pooling last
    and computes fewer activations. (A ``prelu`` may learn a negative slope; there the order counts,
    and it is this one.)
    """
    norm_layer = normalisation(norm, channels, position_axes=2)
    layers: list[nn.Module] = [] if norm_layer is None else [norm_layer]
    return [*layers, nn.MaxPool2d(pool), activation(act)]


def recurrent_layers(
    name: str, inputs: int, *, hidden: int, layers: int, bidirectional: bool, dropout: float
) -> nn.GRU | nn.LSTM:
    """Recurrent layers from (batch, frames, inputs) to (batch, frames, hidden * directions).

    ``dropout`` is applied between layers.

    Raises:
        EarfulError: an unknown name, or a size below 1.
    """
    factories: dict[str, type[nn.GRU | nn.LSTM]] = {"gru": nn.GRU, "lstm": nn.LSTM}
    factory = _look_up("recurrent", name, factories)
    require_positive(hidden=hidden, layers=layers)
    stack: nn.GRU | nn.LSTM = factory(
        inputs,
        hidden,
        num_layers=layers,
        batch_first=True,
        bidirectional=bidirectional,
        dropout=dropout if layers > 1 else 0.0,
    )
    return stack


def make_dropout(p: float) -> Dropout:
    """A layer that drops each value with probability ``p``.

    Raises:
        EarfulError: ``p`` is not from 0 to below 1.
    """
    if not 0 <= p < 1:
        raise EarfulError(f"dropout must be from 0 to below 1, found {p}")
    return Dropout(p)


def require_positive(**options: int) -> None:
    """Check that options are whole numbers of 1 or more.

    Raises:
        EarfulError: one is not.
    """
    for name, value in options.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise EarfulError(f"{name} must be a whole number of 1 or more, found {value!r}")


class VectorBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of vectors (batch, channels).

    A batch of one clip has no variance: it uses the running statistics, as in evaluation.
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002 - torch's name for it
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
