"""The classic four-block CNN over MFCC as a one-channel image.

Blocks of 16, 32, 64 and 128 filters of 2 x 2 without padding, each with ReLU, 2 x 2 max pooling and
dropout of 0.2; then global average pooling and one dense layer. With ten labels 44,602 parameters,
whatever the size of the image, and 2.8 million multiply-adds for 40 x 63. This is the network of
many tutorials on spoken digits and environmental sounds.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from earful.data.errors import EarfulError
from earful.models.bundle.activation_map import MapAxes, MapAxis
from earful.models.layers.base import PooledNetwork
from earful.models.layers.blocks import (
    Activation,
    Normalisation,
    make_dropout,
    norm_pool_activation,
)

FILTERS = (16, 32, 64, 128)
KERNEL = 2


@dataclass(frozen=True)
class CnnConfig:
    """Options of ``Cnn``; the classic network has no normalisation layers."""

    dropout: float = 0.2
    norm: Normalisation = "none"
    activation: Activation = "relu"


class Cnn(PooledNetwork):
    """Features (batch, bins, frames) to logits (batch, labels); the embedding has 128 values.

    Raises:
        EarfulError: features smaller than 31 x 31, which four poolings reduce to nothing, or an
            invalid option.
    """

    # Nothing is padded: a block of stride s before it shifts the centre by s and doubles the step.
    axes = MapAxes(bins=MapAxis(15, 16), frames=MapAxis(15, 16))

    def __init__(self, bins: int, frames: int, n_labels: int, config: CnnConfig) -> None:
        super().__init__()
        if _size_after_blocks(bins) < 1 or _size_after_blocks(frames) < 1:
            raise EarfulError(
                f"cnn needs features of 31 bins and 31 frames or more, found {bins} x {frames}; "
                "prepare with more --n-mfcc, longer clips or a shorter --hop-length"
            )
        layers: list[nn.Module] = []
        for in_channels, out_channels in pairwise((1, *FILTERS)):
            layers += [nn.Conv2d(in_channels, out_channels, KERNEL, bias=config.norm == "none")]
            layers += norm_pool_activation(config.norm, config.activation, out_channels, pool=2)
            layers.append(make_dropout(config.dropout))
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Linear(FILTERS[-1], n_labels)

    def feature_map(self, features: Tensor) -> Tensor:
        x = features.unsqueeze(1)  # (batch, 1, bins, frames)
        # (batch, 128, bins / 16 - 1, frames / 16 - 1), rounded: 1 x 3 of 40 x 63
        located: Tensor = self.blocks(x)
        return located


def _size_after_blocks(size: int) -> int:
    """The length of one side of the image after the four blocks."""
    for _ in FILTERS:
        size = (size - KERNEL + 1) // 2
    return size
