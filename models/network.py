"""What every network is: features to an embedding, and a linear layer from there to the labels."""

import math
from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Network(nn.Module, ABC):
    """Base of the zoo: normalised features (batch, bins, frames) to logits (batch, labels).

    ``head`` reads the embedding, so that new labels need a new head only.
    """

    head: nn.Linear

    @abstractmethod
    def embed(self, features: Tensor) -> Tensor:
        """The embedding (batch, dim)."""

    def forward(self, features: Tensor) -> Tensor:
        """Logits (batch, labels)."""
        logits: Tensor = self.head(self.embed(features))
        return logits


class NoLabelHead(nn.Linear):
    """An embedding (batch, dim) to log-probabilities (batch, labels), with a way out.

    It has one output more than there are labels, for sounds that are none of them, whose
    probability is then shared out evenly. So a network can learn to be sure of nothing when it
    hears another word, by one output, rather than by evening out those of the labels, which would
    blur them. The most probable label stays what it was.
    """

    def __init__(self, dim: int, n_labels: int) -> None:
        super().__init__(dim, n_labels + 1)
        self.n_labels = n_labels

    def forward(self, embedding: Tensor) -> Tensor:
        logs = torch.log_softmax(super().forward(embedding), dim=1)  # (batch, labels + 1)
        share = logs[:, self.n_labels :] - math.log(self.n_labels)
        return torch.logaddexp(logs[:, : self.n_labels], share)
