"""A support vector machine on pooled features: one for each pair of labels, with an RBF kernel.

"Support-Vector Networks" (Cortes and Vapnik, Machine Learning 20, 1995), one against one as libsvm
has it. A decision tells on which side of the pair's border a clip is, and is 1 at the margin. Its
sigmoid is the probability that the clip is the one label and not the other (Platt, "Probabilistic
Outputs for Support Vector Machines", 1999, with a slope that is not fitted), and the score of a
label is the sum of the logarithms over its pairs. libsvm counts the pairs that a label wins, which
jumps where a decision changes its sign and says nothing of how near it was. The two choose the same
label but where pairs are nearly undecided: on FSDD for 568 of 570 clips. Scores become calibrated
probabilities by the temperature that is fitted to validation clips, as those of any network.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from earful.data.errors import EarfulError
from earful.models.layers.pooling import pooled_size
from earful.models.networks.baselines.fitted import FittedModule, PooledBaseline

# Of the sigmoid: 98 % at the margin. On validation clips of FSDD the temperature is then near 1.
SIGMOID_SLOPE = 4.0


@dataclass(frozen=True)
class SvmConfig:
    """Options of ``Svm``: ``c`` is the price of a clip within the margin.

    ``gamma`` is the inverse squared width of the kernel; None: one over the number of pooled
    features, which is the inverse of the mean squared distance of a clip from the middle.

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
    coefficient    (vectors, pairs) zero where a vector is of no label of the pair
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
        """Of the distances from all support vectors, and the decisions; exponentials are not."""
        return self.support.numel() + self.coefficient.numel()

    def decisions(self, embedding: Tensor) -> Tensor:
        """(batch, pairs), above 0 where the first label of a pair is likelier."""
        squared = (
            embedding.square().sum(1, keepdim=True)
            + self.support.square().sum(1)
            - 2 * embedding @ self.support.T
        )  # (batch, vectors)
        return torch.exp(-self.gamma * squared) @ self.coefficient + self.intercept

    def forward(self, embedding: Tensor) -> Tensor:
        evidence = SIGMOID_SLOPE * self.decisions(embedding)
        won, lost = functional.logsigmoid(evidence), functional.logsigmoid(-evidence)
        return won @ self.first + lost @ self.second
