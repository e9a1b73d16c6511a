"""Support vector machines on pooled features: one per pair of labels, with an RBF kernel.

"Support-Vector Networks" (Cortes and Vapnik, Machine Learning 20, 1995), one against one as in
libsvm. The sign of a decision value chooses one label of the pair, and its magnitude is 1 at the
margin. Its sigmoid is the probability of the one label against the other (Platt, "Probabilistic
Outputs for Support Vector Machines", 1999, with a fixed slope), and the score of a label is the sum
of the logarithms over its pairs. libsvm counts the pairs that a label wins instead, which jumps
where a decision value changes its sign. Both choose the same label unless pairs are nearly tied: on
FSDD for 568 of 570 clips. As for any network, a temperature fitted on validation clips calibrates
the scores.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from earful.data.errors import EarfulError
from earful.models.layers.pooling import pooled_size
from earful.models.networks.baselines.fitted import FittedModule, PooledBaseline

# The sigmoid is 98 % at the margin. On validation clips of FSDD the temperature is then near 1.
SIGMOID_SLOPE = 4.0


@dataclass(frozen=True)
class SvmConfig:
    """Options of ``Svm``: ``c`` is the penalty of clips within the margin, as scikit-learn's ``C``.

    ``gamma`` is the inverse squared width of the kernel; None means one over the number of pooled
    features, which is the inverse of the mean squared distance of a clip from the mean.

    Raises:
        EarfulError: a number that is not above 0.
    """

    c: float = 10.0
    gamma: float | None = None

    def __post_init__(self) -> None:
        for name, value in (("c", self.c), ("gamma", self.gamma)):
            if value is not None and not value > 0:
                raise EarfulError(f"{name} must be above 0, found {value}")


class Svm(PooledBaseline):
    """Features (batch, bins, frames) to logits (batch, labels)."""

    head: "PairwiseSvms"

    def __init__(self, bins: int, frames: int, n_labels: int, config: SvmConfig) -> None:
        del frames
        size = pooled_size(bins)
        super().__init__(bins, PairwiseSvms(size, n_labels, config.gamma or 1 / size))


class PairwiseSvms(FittedModule):
    """The machines of all pairs (0, 1), (0, 2), ... of labels, over all support vectors.

    support        (vectors, size)
    coefficient    (vectors, pairs) zero where the vector has neither label of the pair
    intercept      (pairs,)
    """

    support: Tensor
    coefficient: Tensor
    intercept: Tensor
    first: Tensor
    second: Tensor

    def __init__(self, size: int, n_labels: int, gamma: float) -> None:
        super().__init__()
        self.gamma = gamma
        first, second = torch.triu_indices(n_labels, n_labels, 1)  # (pairs,) each
        labels = torch.eye(n_labels)
        self.register_buffer("first", labels[first], persistent=False)
        self.register_buffer("second", labels[second], persistent=False)
        self.register_buffer("support", torch.zeros(1, size))
        self.register_buffer("coefficient", torch.zeros(1, len(first)))
        self.register_buffer("intercept", torch.zeros(len(first)))

    def multiply_adds(self) -> int:
        """Distances from all support vectors, and decision values; no exponentials."""
        return self.support.numel() + self.coefficient.numel()

    def decisions(self, embedding: Tensor) -> Tensor:
        """Decisions (batch, pairs) of embeddings (batch, size): above 0 for the first label."""
        squared = (
            embedding.square().sum(1, keepdim=True)
            + self.support.square().sum(1)
            - 2 * embedding @ self.support.T
        )  # (batch, vectors)
        return torch.exp(-self.gamma * squared) @ self.coefficient + self.intercept

    def forward(self, embedding: Tensor) -> Tensor:
        evidence = SIGMOID_SLOPE * self.decisions(embedding)
        log_first, log_second = functional.logsigmoid(evidence), functional.logsigmoid(-evidence)
        return log_first @ self.first + log_second @ self.second
