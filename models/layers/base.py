"""Base class of the networks: features to an embedding, and a head on the embedding."""

from abc import ABC, abstractmethod

from torch import Tensor, nn


class Network(nn.Module, ABC):
    """Normalised features (batch, bins, frames) to an embedding (batch, dim) and a head on it.

    The head of a classifier is one linear layer to logits (batch, labels), so that new labels need
    only a new head; the head of an autoencoder is its decoder.
    """

    head: nn.Module

    @abstractmethod
    def embed(self, features: Tensor) -> Tensor:
        """The embedding (batch, dim) of features (batch, bins, frames)."""

    def forward(self, features: Tensor) -> Tensor:
        """Logits (batch, labels) of a classifier; features (batch, bins, frames) otherwise."""
        output: Tensor = self.head(self.embed(features))
        return output

    def rate_scales(self) -> dict[nn.Module, float]:
        """Modules that are trained at another learning rate, relative to that of the rest."""
        return {}
