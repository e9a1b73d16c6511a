"""A hidden Markov model for each label, with Gaussian mixtures: speech recognition before networks.

As in "A Tutorial on Hidden Markov Models and Selected Applications in Speech Recognition" (Rabiner,
Proceedings of the IEEE 77, 1989): a word is a row of states that are gone through from left to
right, each staying for as long as it likes, and a frame (13 MFCC and their deltas) is drawn from
the state's mixture of Gaussians with diagonal covariance. A clip is the label under whose model it
is likeliest, weighted by how frequent the label is.

The forward algorithm runs in logarithms and is unrolled over the frames, five operations each: an
exported clip of one second has some 350, and takes two milliseconds.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from earful.models.layers.base import Network
from earful.models.layers.blocks import require_positive
from earful.models.layers.pooling import deltas
from earful.models.networks.baselines.fitted import FittedModule, Standardiser
from earful.models.networks.baselines.majority import ClassPrior

# Higher coefficients hold more of the voice than of the word.
N_MFCC = 13
# Neighbouring frames share most of their samples and all of their vowel: as independent witnesses
# they would make every answer sure. Recognisers weigh them by 1/20 to 1/10.
ACOUSTIC_SCALE = 1 / 16
# The logarithm of no probability; sums of thousands of them are finite.
LOG_ZERO = -1e30


@dataclass(frozen=True)
class GmmHmmConfig:
    """Options of ``GmmHmm``: how many ``states`` a label has, of how many Gaussians each.

    Raises:
        EarfulError: a number that is none.
    """

    states: int = 8
    mixtures: int = 3

    def __post_init__(self) -> None:
        require_positive(states=self.states, mixtures=self.mixtures)


class GmmHmm(Network):
    """MFCC (batch, bins, frames) to logits (batch, labels).

    The embedding is the log-likelihood of each label times ``ACOUSTIC_SCALE``.
    """

    head: "AddLogPrior"

    def __init__(self, bins: int, frames: int, n_labels: int, config: GmmHmmConfig) -> None:
        super().__init__()
        self.n_mfcc = min(bins, N_MFCC)
        self.standardiser = Standardiser(2 * self.n_mfcc)
        self.hmms = LabelHmms(2 * self.n_mfcc, frames, n_labels, config)
        self.head = AddLogPrior(n_labels)

    def with_deltas(self, features: Tensor) -> Tensor:
        """What the Gaussians are of, (batch, frames, 2 * coefficients), when standardised."""
        x = features[:, : self.n_mfcc]
        return torch.cat([x, deltas(x)], dim=1).transpose(1, 2)

    def embed(self, features: Tensor) -> Tensor:
        log_likelihoods: Tensor = self.hmms(self.standardiser(self.with_deltas(features)))
        return ACOUSTIC_SCALE * log_likelihoods


class AddLogPrior(ClassPrior):
    """Logits: log-likelihoods and the logarithms of the labels' shares."""

    def forward(self, embedding: Tensor) -> Tensor:
        return embedding + self.log_prior


class LabelHmms(FittedModule):
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
        """Of all Gaussians and of all transitions, for every frame."""
        return self.n_frames * (2 * self.mean.numel() + self.log_transition.numel())

    def forward(self, frames: Tensor) -> Tensor:
        """Log-likelihoods (batch, labels) of frames (batch, frames, size)."""
        first, *rest = self._emission(frames).unbind(1)
        log_alpha = self.log_start + first  # (batch, labels, states)
        for emission in rest:
            log_alpha = (
                torch.logsumexp(log_alpha.unsqueeze(3) + self.log_transition, dim=2) + emission
            )
        return torch.logsumexp(log_alpha, dim=2)

    def _emission(self, frames: Tensor) -> Tensor:
        """Log-densities (batch, frames, labels, states)."""
        precision = self.variance.reciprocal()
        constant = (self.mean.square() * precision + (2 * math.pi * self.variance).log()).sum(3)
        squares = frames.square() @ precision.flatten(0, 2).T
        products = frames @ (self.mean * precision).flatten(0, 2).T
        quadratic = (squares - 2 * products).reshape(*frames.shape[:2], *constant.shape) + constant
        return torch.logsumexp(self.log_weight - quadratic / 2, dim=4)
