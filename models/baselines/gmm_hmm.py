"""A hidden Markov model for each label, with Gaussian mixtures: speech recognition before networks.

As in "A Tutorial on Hidden Markov Models and Selected Applications in Speech Recognition" (Rabiner,
Proceedings of the IEEE 77, 1989): a word is a row of states that are gone through from left to
right, each staying for as long as it likes, and a frame (13 MFCC and their deltas) is drawn from
the state's mixture of Gaussians with diagonal covariance. A clip is the label under whose model it
is likeliest, weighted by how frequent the label is.

The forward algorithm multiplies a matrix a frame. It does so in pairs, then pairs of pairs, so that
a clip of 63 frames takes six steps and not 62 ("Temporal Parallelization of Inference in Hidden
Markov Models", arXiv:2102.05743), all in logarithms.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from models.baselines.majority import Shares
from models.fitted import Fitted, Standardise
from models.layers import require_positive
from models.network import Network
from models.pooling import deltas

# Higher coefficients hold more of the voice than of the word.
COEFFICIENTS = 13
# Neighbouring frames share most of their samples and all of their vowel: as independent witnesses
# they would make every answer sure. Recognisers weigh them by 1/20 to 1/10.
ACOUSTIC_SCALE = 1 / 16
# The logarithm of no probability; sums of thousands of them are finite.
IMPOSSIBLE = -1e30


@dataclass(frozen=True)
class GmmHmmConfig:
    """Options of ``GmmHmm``: how many ``states`` a label has, of how many Gaussians each.

    Raises:
        EarshotError: a number that is none.
    """

    states: int = 8
    mixtures: int = 3

    def __post_init__(self) -> None:
        require_positive(states=self.states, mixtures=self.mixtures)


class GmmHmm(Network):
    """MFCC (batch, bins, frames) to logits (batch, labels).

    The embedding is the log-likelihood of each label times ``ACOUSTIC_SCALE``.
    """

    head: "Prior"

    def __init__(self, bins: int, frames: int, n_labels: int, config: GmmHmmConfig) -> None:
        super().__init__()
        self.coefficients = min(bins, COEFFICIENTS)
        self.standardise = Standardise(2 * self.coefficients)
        self.words = Words(2 * self.coefficients, frames, n_labels, config)
        self.head = Prior(n_labels)

    def with_deltas(self, features: Tensor) -> Tensor:
        """What the Gaussians are of, (batch, frames, 2 * coefficients), when standardised."""
        x = features[:, : self.coefficients]
        return torch.cat([x, deltas(x)], dim=1).transpose(1, 2)

    def embed(self, features: Tensor) -> Tensor:
        found: Tensor = self.words(self.standardise(self.with_deltas(features)))
        return ACOUSTIC_SCALE * found


class Prior(Shares):
    """Logits: log-likelihoods and the logarithms of the labels' shares."""

    def forward(self, embedding: Tensor) -> Tensor:
        return embedding + self.log_shares


class Words(Fitted):
    """The models of all labels.

    log_start         (labels, states)
    log_transition    (labels, states from, states to)
    log_weight        (labels, states, mixtures)
    mean, variance    (labels, states, mixtures, size)
    """

    log_start: Tensor
    log_transition: Tensor
    log_weight: Tensor
    mean: Tensor
    variance: Tensor

    def __init__(self, size: int, frames: int, n_labels: int, config: GmmHmmConfig) -> None:
        super().__init__()
        self.n_frames = frames
        states, mixtures = config.states, config.mixtures
        shape = (n_labels, states, mixtures)
        self.register_buffer("log_start", torch.full((n_labels, states), -math.log(states)))
        self.register_buffer(
            "log_transition", torch.full((n_labels, states, states), -math.log(states))
        )
        self.register_buffer("log_weight", torch.full(shape, -math.log(mixtures)))
        self.register_buffer("mean", torch.zeros(*shape, size))
        self.register_buffer("variance", torch.ones(*shape, size))

    def multiply_adds(self) -> int:
        """Of all Gaussians for every frame, and the products of the forward algorithm."""
        labels, states, _ = self.log_transition.shape
        return self.n_frames * 2 * self.mean.numel() + (self.n_frames - 2) * labels * states**3

    def forward(self, frames: Tensor) -> Tensor:
        """Log-likelihoods (batch, labels) of frames (batch, frames, size)."""
        emission = self._emission(frames)
        start = self.log_start + emission[:, 0]  # (batch, labels, states)
        if emission.shape[1] == 1:
            return torch.logsumexp(start, dim=2)
        # (batch, frames - 1, labels, from, to): a frame's transition, and what is emitted then
        steps = self.log_transition + emission[:, 1:].unsqueeze(3)
        ways = start.unsqueeze(3) + _product(steps)
        return torch.logsumexp(ways.flatten(2), dim=2)

    def _emission(self, frames: Tensor) -> Tensor:
        """Log-densities (batch, frames, labels, states)."""
        precision = self.variance.reciprocal()
        constant = (self.mean.square() * precision + (2 * math.pi * self.variance).log()).sum(3)
        squares = frames.square() @ precision.flatten(0, 2).T
        products = frames @ (self.mean * precision).flatten(0, 2).T
        quadratic = (squares - 2 * products).reshape(*frames.shape[:2], *constant.shape) + constant
        return torch.logsumexp(self.log_weight - quadratic / 2, dim=4)


def _product(steps: Tensor) -> Tensor:
    """The product over time (dimension 1) of matrices of logarithms, neighbours first."""
    while (length := steps.shape[1]) > 1:
        even = length - length % 2
        left, right = steps[:, 0:even:2], steps[:, 1:even:2]
        pairs = torch.logsumexp(left.unsqueeze(5) + right.unsqueeze(3), dim=4)
        steps = torch.cat([pairs, steps[:, even:]], dim=1)
    return steps[:, 0]
