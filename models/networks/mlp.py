"""A multilayer perceptron on pooled features: what a network is worth that does not know of time.

The functionals of ``models.layers.pooling``, standardised by batch statistics, then one or two hidden
layers, each with activation and dropout; the last one is the embedding. With ten labels, 40 bins
and the defaults: 27,018 parameters, 26,880 multiply-adds.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from earful.data.errors import EarfulError
from earful.models.layers.base import Network
from earful.models.layers.blocks import (
    Activation,
    BatchNormOfVectors,
    Normalisation,
    dropout_of,
    normalised_activation,
    require_positive,
)
from earful.models.layers.pooling import pooled, pooled_size

MOST_LAYERS = 2


@dataclass(frozen=True)
class MlpConfig:
    """Options of ``Mlp``: how many hidden ``layers``, of ``hidden`` units each."""

    layers: int = 1
    hidden: int = 128
    dropout: float = 0.2
    norm: Normalisation = "none"
    activation: Activation = "relu"


class Mlp(Network):
    """Features (batch, bins, frames) to logits (batch, labels); ``hidden`` values in between.

    Raises:
        EarfulError: an option that is none of its choices.
    """

    def __init__(self, bins: int, frames: int, n_labels: int, config: MlpConfig) -> None:
        super().__init__()
        del frames  # however many there are, they are pooled
        require_positive(layers=config.layers, hidden=config.hidden)
        if config.layers > MOST_LAYERS:
            raise EarfulError(f"mlp has 1 or {MOST_LAYERS} hidden layers, found {config.layers}")
        self.standardise = BatchNormOfVectors(pooled_size(bins), affine=False)
        layers: list[nn.Module] = []
        for before, after in pairwise((pooled_size(bins), *[config.hidden] * config.layers)):
            layers += [nn.Linear(before, after, bias=config.norm == "none")]
            layers += normalised_activation(config.norm, config.activation, after, axes=0)
            layers += [dropout_of(config.dropout)]
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear(config.hidden, n_labels)

    def embed(self, features: Tensor) -> Tensor:
        x = self.standardise(pooled(features))  # (batch, 5 * bins)
        embedding: Tensor = self.hidden(x)
        return embedding
