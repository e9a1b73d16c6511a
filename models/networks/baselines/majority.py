"""The simplest baseline: every clip gets the most frequent label of the training clips.

Its accuracy is what a classifier reaches without the audio. Its scores are the label frequencies in
the training set.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from earful.models.networks.baselines.fitted import FittedModule, PooledBaseline


@dataclass(frozen=True)
class MajorityConfig:
    """``Majority`` has no options."""


class Majority(PooledBaseline):
    """Features (batch, bins, frames) to logits (batch, labels), the same for every clip."""

    head: "ClassPrior"

    def __init__(self, bins: int, frames: int, n_labels: int, config: MajorityConfig) -> None:
        del frames, config
        super().__init__(bins, ClassPrior(n_labels))


class ClassPrior(FittedModule):
    """``log_prior`` (labels,): log-frequencies of the labels in the training set."""

    log_prior: Tensor

    def __init__(self, n_labels: int) -> None:
        super().__init__()
        self.register_buffer("log_prior", torch.zeros(n_labels))

    def forward(self, embedding: Tensor) -> Tensor:
        return self.log_prior.expand(embedding.shape[0], -1)
