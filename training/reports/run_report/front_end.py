"""The front end of a run's network: its log-mel in decibels, and where its frames lie in a clip."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from earful.data.features.config import FeatureConfig
from earful.data.features.encoder_config import encoder_features, padding_samples
from earful.data.features.extractor import FeatureExtractor

_DPI, _RANGE_DB = 80, 70.0


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


def draw_spectrogram(
    decibels: NDArray[np.float32], width: int, height: int, top_db: float
) -> tuple[Figure, Any]:
    """A figure of so many pixels with a log-mel (bins, frames), and its axes in bins and frames."""
    figure = Figure(figsize=(width / _DPI, height / _DPI), dpi=_DPI)
    axes: Any = figure.add_axes((0, 0, 1, 1))
    axes.imshow(
        decibels,
        origin="lower",
        aspect="auto",
        cmap="magma",
        vmin=top_db - _RANGE_DB,
        vmax=top_db,
    )
    axes.set_axis_off()
    return figure, axes
