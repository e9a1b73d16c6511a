"""What every network is: features to an embedding, and a head from there to its output."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Network(nn.Module, ABC):
    """Base of the zoo: normalised features (batch, bins, frames) to what its head makes of them.

    ``head`` reads the embedding. That of a classifier is one linear layer to logits (batch,
    labels), so that new labels need a new head only; that of an autoencoder is its decoder.
    """

    head: nn.Module

    @abstractmethod
    def embed(self, features: Tensor) -> Tensor:
        """The embedding (batch, dim)."""

    def forward(self, features: Tensor) -> Tensor:
        """Logits (batch, labels) of a classifier; features (batch, bins, frames) otherwise."""
        output: Tensor = self.head(self.embed(features))
        return output
