"""The front end of a run's network: its log-mel in decibels, and where its frames lie in a clip."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from earful.data.features.config import FeatureConfig
from earful.data.features.encoder_config import encoder_features, padding_samples
from earful.data.features.extractor import FeatureExtractor


class FrontEnd:
    """Places of frames: frame i is at sample ``i * hop_length - padding`` of the clip."""

    def __init__(self, extractor: FeatureExtractor, config: FeatureConfig) -> None:
        self._is_encoder = extractor.kind == "encoder"
        self.hop_length, self.padding = config.hop_length, 0
        if self._is_encoder:
            self.hop_length = encoder_features(config).hop_length
            self.padding = padding_samples(config)

    def decibels(self, spectrogram: Tensor) -> NDArray[np.float32]:
        """The log-mel (bins, frames) in dB of a spectrogram (1, bins, frames) of the extractor."""
        scale = 10 if self._is_encoder else 1  # the encoder's gives dB / 10
        return np.asarray(spectrogram[0].detach().numpy() * scale)
