"""A multilayer perceptron on pooled features: a baseline that ignores the order of the frames.

The functionals of ``models.layers.pooling``, standardised by batch statistics, then one or two
hidden layers, each with activation and dropout; the last one is the embedding. With ten labels, 40
bins and the defaults: 27,018 parameters, 26,880 multiply-adds.
"""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from earful.data.errors import EarfulError
from earful.models.layers.base import Network
from earful.models.layers.blocks import (
    Activation,
    Normalisation,
    VectorBatchNorm,
    make_dropout,
    norm_activation,
    require_positive,
)
from earful.models.layers.pooling import pooled_functionals, pooled_size

MAX_LAYERS = 2


@dataclass(frozen=True)
class MlpConfig:
    """Options of ``Mlp``: number of hidden ``layers``, and ``hidden`` units in each."""

    layers: int = 1
    hidden: int = 128
    dropout: float = 0.2
    norm: Normalisation = "none"
    activation: Activation = "relu"


class Mlp(Network):
    """Features (batch, bins, frames) to logits (batch, labels); embeddings of ``hidden`` values.

    Raises:
        EarfulError: an invalid option.
    """

    def __init__(self, bins: int, frames: int, n_labels: int, config: MlpConfig) -> None:
        super().__init__()
        del frames  # all frames are pooled
        require_positive(layers=config.layers, hidden=config.hidden)
        if config.layers > MAX_LAYERS:
            raise EarfulError(f"mlp has 1 or {MAX_LAYERS} hidden layers, found {config.layers}")
        self.standardiser = VectorBatchNorm(pooled_size(bins), affine=False)
        layers: list[nn.Module] = []
        for n_inputs, n_outputs in pairwise((pooled_size(bins), *[config.hidden] * config.layers)):
            layers += [nn.Linear(n_inputs, n_outputs, bias=config.norm == "none")]
            layers += norm_activation(config.norm, config.activation, n_outputs, position_axes=0)
            layers += [make_dropout(config.dropout)]
        self.hidden = nn.Sequential(*layers)
        self.head = nn.Linear(config.hidden, n_labels)

    def embed(self, features: Tensor) -> Tensor:
        x = self.standardiser(pooled_functionals(features))  # (batch, 5 * bins)
        embedding: Tensor = self.hidden(x)
        return embedding
