"""Two 1-D convolutions over time, then recurrent layers: an architecture for sensor data.

Bins are channels, as the axes of an accelerometer are. Two blocks of convolution over time,
normalisation, activation, max pooling by two and dropout detect short patterns, and an LSTM (or
GRU) reads their order; the mean of its outputs over time is the embedding. After DeepConvLSTM
("Deep Convolutional and LSTM Recurrent Neural Networks for Multimodal Wearable Activity
Recognition", Ordóñez and Roggen, Sensors 16(1):115, 2016), with its 64 filters of five steps;
DeepConvLSTM has four convolutions, each over one sensor channel and without pooling, and uses the
last output. With ten labels, 40 bins and 63 frames: 67,466 parameters, 1.9 million multiply-adds.
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
    norm_activation,
    recurrent_layers,
    require_positive,
)

BLOCKS = 2
# Two halvings leave two frames; instance normalisation needs more than one.
MIN_FRAMES = 8


@dataclass(frozen=True)
class ConvRnnConfig:
    """Options of ``ConvRnn``: ``kernel`` in frames (odd), ``hidden`` units per direction."""

    filters: int = 64
    kernel: int = 5
    recurrent: Recurrence = "lstm"
    layers: int = 1
    bidirectional: bool = False
    hidden: int = 64
    dropout: float = 0.2
    norm: Normalisation = "batch"
    activation: Activation = "relu"


class ConvRnn(Network):
    """Features (batch, bins, frames) to logits (batch, labels).

    Raises:
        EarfulError: fewer than eight frames, or an invalid option.
    """

    def __init__(self, bins: int, frames: int, n_labels: int, config: ConvRnnConfig) -> None:
        super().__init__()
        if frames < MIN_FRAMES:
            raise EarfulError(
                f"convrnn needs features of {MIN_FRAMES} frames or more, found {bins} x {frames}"
            )
        require_positive(filters=config.filters, kernel=config.kernel)
        if config.kernel % 2 == 0:
            raise EarfulError(f"kernel must be odd, found {config.kernel}")
        layers: list[nn.Module] = []
        for in_channels, out_channels in pairwise((bins, *[config.filters] * BLOCKS)):
            layers += [
                nn.Conv1d(
                    in_channels,
                    out_channels,
                    config.kernel,
                    padding=config.kernel // 2,
                    bias=config.norm == "none",
                )
            ]
            layers += norm_activation(config.norm, config.activation, out_channels, position_axes=1)
            layers += [nn.MaxPool1d(2), make_dropout(config.dropout)]
        self.blocks = nn.Sequential(*layers)
        self.recurrent = recurrent_layers(
            config.recurrent,
            config.filters,
            hidden=config.hidden,
            layers=config.layers,
            bidirectional=config.bidirectional,
            dropout=config.dropout,
        )
        self.dropout = make_dropout(config.dropout)
        self.head = nn.Linear(config.hidden * (2 if config.bidirectional else 1), n_labels)

    def embed(self, features: Tensor) -> Tensor:
        x = self.blocks(features)  # (batch, filters, frames // 4)
        x, _ = self.recurrent(x.transpose(1, 2))  # (batch, frames // 4, hidden * directions)
        embedding: Tensor = self.dropout(x.mean(dim=1))
        return embedding
