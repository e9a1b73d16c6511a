"""Modules around a network: feature normalisation, and the exported graph from the waveform."""

from typing import cast

import torch
from torch import Tensor, nn

from earful.data.features.config import FeatureConfig
from earful.data.features.extractor import FeatureExtractor
from earful.data.features.kinds import FeatureKind
from earful.models.bundle.decision import ScoreKind
from earful.models.layers.base import Network

# A bin that never varies (above a band limit, for example) would otherwise be divided by zero.
MIN_STD = 1e-2


class NormalisedNetwork(nn.Module):
    """Raw features (batch, bins, frames) to logits (batch, labels).

    Each bin is normalised by its mean and standard deviation in the training set, (bins,) each:
    buffers that are saved with the weights and exported with the graph.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Network, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean.reshape(-1, 1))
        self.register_buffer("std", std.clamp_min(MIN_STD).reshape(-1, 1))

    def normalise(self, features: Tensor) -> Tensor:
        return (features - self.mean) / self.std

    def forward(self, features: Tensor) -> Tensor:
        return cast("Tensor", self.network(self.normalise(features)))


class WaveformClassifier(nn.Module):
    """The exported graph: waveforms (batch, clip_samples) to probabilities and embedding.

    Probabilities (batch, labels) are the softmax or sigmoid of the logits divided by the
    calibration temperature.
    """

    def __init__(
        self,
        features: FeatureConfig,
        feature_kind: FeatureKind,
        classifier: NormalisedNetwork,
        temperature: float,
        score_kind: ScoreKind,
    ) -> None:
        super().__init__()
        self.extractor = FeatureExtractor(features, feature_kind)
        self.classifier = classifier
        self.temperature = temperature
        self.score_kind: ScoreKind = score_kind

    def forward(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        """Probabilities (batch, labels) and embedding (batch, dim)."""
        embedding = self.classifier.network.embed(
            self.classifier.normalise(self.extractor(waveform))
        )
        return self.to_probabilities(embedding), embedding

    def to_probabilities(self, embedding: Tensor) -> Tensor:
        """Probabilities (batch, labels) of embeddings (batch, dim)."""
        logits = self.classifier.network.head(embedding) / self.temperature
        is_multi_label = self.score_kind == "sigmoid"
        return torch.sigmoid(logits) if is_multi_label else torch.softmax(logits, dim=1)
