"""A hidden Markov model per label with Gaussian mixtures: speech recognition before networks.

As in "A Tutorial on Hidden Markov Models and Selected Applications in Speech Recognition" (Rabiner,
Proceedings of the IEEE 77, 1989): a word is a left-to-right sequence of states of any duration, and
each frame (13 MFCC and their deltas) is drawn from the state's mixture of Gaussians with diagonal
covariance. The predicted label is the one under whose model the clip is likeliest, weighted by the
frequency of the label.

The forward algorithm runs on logarithms and is unrolled over the frames, five operations each: the
exported graph of a one-second clip has about 350 and takes two milliseconds.
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

# Higher coefficients describe the voice more than the word.
N_MFCC = 13
# Neighbouring frames overlap and belong to the same vowel: treated as independent, they would make
# every prediction near certain. Speech recognisers scale log-likelihoods by 1/20 to 1/10.
ACOUSTIC_SCALE = 1 / 16
# Stands for log(0); sums of thousands of them stay finite.
LOG_ZERO = -1e30


@dataclass(frozen=True)
class GmmHmmConfig:
    """Options of ``GmmHmm``: ``states`` per label, and Gaussians (``mixtures``) per state.

    Raises:
        EarfulError: a number below 1.
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
        """MFCC and their deltas, (batch, frames, 2 * coefficients), not yet standardised."""
        x = features[:, : self.n_mfcc]
        return torch.cat([x, deltas(x)], dim=1).transpose(1, 2)

    def embed(self, features: Tensor) -> Tensor:
        log_likelihoods: Tensor = self.hmms(self.standardiser(self.with_deltas(features)))
        return ACOUSTIC_SCALE * log_likelihoods


class AddLogPrior(ClassPrior):
    """Logits: log-likelihoods plus log-priors of the labels."""

    def forward(self, embedding: Tensor) -> Tensor:
        return embedding + self.log_prior


class LabelHmms(FittedModule):
    """The hidden Markov models of all labels.

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
        """All Gaussians and all transitions, for every frame."""
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
