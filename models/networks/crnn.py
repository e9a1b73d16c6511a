"""A convolutional recurrent network: the spectrogram as an image, then a recurrent layer over time.

Three blocks of 3 x 3 convolution, batch normalisation, ReLU and pooling shrink the frequency axis
by eight and the time axis by two; a bidirectional GRU (or LSTM) reads the remaining frames, and the
mean of its outputs over time is the embedding. Stage layout after "Convolutional Recurrent Neural
Networks for Music Classification" (Choi et al., arXiv:1609.04243), smaller. With ten labels, 40
bins and 63 frames: 188,018 parameters, 26.8 million multiply-adds.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from earful.data.errors import EarfulError
from earful.models.layers.base import Network
from earful.models.layers.blocks import (
    Activation,
    Normalisation,
    Recurrence,
    make_dropout,
    norm_pool_activation,
    recurrent_layers,
)

FILTERS = (24, 48, 64)
# (frequency, time) pooling of each block: words are short, so time is pooled less than frequency.
POOLS = ((2, 1), (2, 2), (2, 1))


@dataclass(frozen=True)
class CrnnConfig:
    """Options of ``Crnn``: number of recurrent ``layers``, ``hidden`` units per direction."""

    recurrent: Recurrence = "gru"
    layers: int = 1
    bidirectional: bool = True
    hidden: int = 64
    dropout: float = 0.2
    norm: Normalisation = "batch"
    activation: Activation = "relu"


class Crnn(Network):
    """Features (batch, bins, frames) to logits (batch, labels).

    The embedding has ``hidden`` values per direction.

    Raises:
        EarfulError: features smaller than 8 x 2, or an invalid option.
    """

    def __init__(self, bins: int, frames: int, n_labels: int, config: CrnnConfig) -> None:
        super().__init__()
        if bins < 8 or frames < 2:
            raise EarfulError(f"crnn needs features of 8 x 2 or more, found {bins} x {frames}")
        layers: list[nn.Module] = []
        for (in_channels, out_channels), pool in zip(pairwise((1, *FILTERS)), POOLS, strict=True):
            layers += [
                nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=config.norm == "none")
            ]
            layers += norm_pool_activation(config.norm, config.activation, out_channels, pool)
            layers.append(make_dropout(config.dropout))
        self.blocks = nn.Sequential(*layers)
        self.recurrent = recurrent_layers(
            config.recurrent,
            FILTERS[-1] * (bins // 8),
            hidden=config.hidden,
            layers=config.layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
        )
        self.dropout = make_dropout(config.dropout)
        self.head = nn.Linear(config.hidden * (2 if config.bidirectional else 1), n_labels)

    def embed(self, features: Tensor) -> Tensor:
        x = self.blocks(features.unsqueeze(1))  # (batch, 64, bins // 8, frames // 2)
        x = x.flatten(1, 2).transpose(1, 2)  # (batch, frames // 2, 64 * (bins // 8))
        x, _ = self.recurrent(x)  # (batch, frames // 2, hidden * directions)
        embedding: Tensor = self.dropout(x.mean(dim=1))
        return embedding
