"""What every network is: features to an embedding, and a linear layer from there to the labels."""

from abc import ABC, abstractmethod

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
