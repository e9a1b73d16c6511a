"""The baseline of baselines: every clip is the label that most training clips have.

What it reaches is what knowing nothing of the sound is worth. Its scores are the shares of the
labels among the training clips.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from earful.models.networks.baselines.fitted import FittedModule, PooledBaseline


@dataclass(frozen=True)
class MajorityConfig:
    """``Majority`` has no options."""


class Majority(PooledBaseline):
    """Features (batch, bins, frames) to the same logits (batch, labels) for all of them."""

    head: "ClassPrior"

    def __init__(self, bins: int, frames: int, n_labels: int, config: MajorityConfig) -> None:
        del frames, config
        super().__init__(bins, ClassPrior(n_labels))


class ClassPrior(FittedModule):
    """``log_shares`` (labels,) of the labels among the training clips."""

    log_prior: Tensor

    def __init__(self, n_labels: int) -> None:
        super().__init__()
        self.register_buffer("log_prior", torch.zeros(n_labels))

    def forward(self, embedding: Tensor) -> Tensor:
        return self.log_prior.expand(embedding.shape[0], -1)
