"""Base class of the networks: features to an embedding, and a head on the embedding."""

from abc import ABC, abstractmethod

from torch import Tensor, nn
from torch.nn import functional

from earful.models.bundle.activation_map import MapAxes


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


class PooledNetwork(Network):
    """A classifier whose logits are means over the positions of a feature map, plus a bias.

    So each position has its exact share in each logit, and the shares of all positions are the
    class activation map: "Learning Deep Features for Discriminative Localization" (Zhou et al.,
    arXiv:1512.04150, equation 2).
    """

    axes: MapAxes

    @abstractmethod
    def feature_map(self, features: Tensor) -> Tensor:
        """The feature map (batch, channels, rows, frames) of features (batch, bins, frames)."""

    def pool(self, feature_map: Tensor) -> Tensor:
        """The embedding (batch, dim): the mean over rows and frames."""
        return feature_map.mean(dim=(2, 3))

    def shares(self, feature_map: Tensor) -> Tensor:
        """What each position adds to the embedding: (batch, dim, rows, frames) with that mean."""
        return feature_map

    def embed(self, features: Tensor) -> Tensor:
        return self.pool(self.feature_map(features))

    def class_map(self, feature_map: Tensor) -> Tensor:
        """Class activation maps (batch, labels, rows, frames): logits are their mean and a bias.

        The bias is the same for all clips.
        """
        weight, shares = self.head_weight(), self.shares(feature_map)
        return functional.linear(shares.movedim(1, -1), weight).movedim(-1, 1)

    def head_weight(self) -> Tensor:
        """Weights (labels, dim) of the logits on ``shares``."""
        return self.head.get_parameter("weight")
