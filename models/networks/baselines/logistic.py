"""Multinomial logistic regression on pooled features: the best a single linear layer can do."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from earful.data.errors import EarfulError
from earful.models.layers.pooling import pooled_size
from earful.models.networks.baselines.fitted import FittedModule, PooledBaseline


@dataclass(frozen=True)
class LogisticConfig:
    """Options of ``Logistic``: ``c`` is the inverse of the L2 penalty, as scikit-learn's ``C``.

    Raises:
        EarfulError: ``c`` is not above 0.
    """

    c: float = 0.1

    def __post_init__(self) -> None:
        if not self.c > 0:
            raise EarfulError(f"c must be above 0, found {self.c}")


class Logistic(PooledBaseline):
    """Features (batch, bins, frames) to logits (batch, labels)."""

    head: "Linear"

    def __init__(self, bins: int, frames: int, n_labels: int, config: LogisticConfig) -> None:
        del frames, config  # the penalty is used by the fit only
        super().__init__(bins, Linear(pooled_size(bins), n_labels))


class Linear(FittedModule):
    """``weight`` (labels, size) and ``bias`` (labels,)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, size: int, n_labels: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(n_labels, size))
        self.register_buffer("bias", torch.zeros(n_labels))

    def multiply_adds(self) -> int:
        return self.weight.numel()

    def forward(self, embedding: Tensor) -> Tensor:
        return functional.linear(embedding, self.weight, self.bias)
