"""From waveforms to the features of one kind, as one torch module."""

import torch
from torch import Tensor, nn

from earful.data.audio.pcm import INT16_FULL_SCALE
from earful.data.features.config import FeatureConfig
from earful.data.features.encoder_config import (
    ENCODER_RATE_HZ,
    encoder_features,
    padding_samples,
)
from earful.data.features.frontend import Frontend
from earful.data.features.kinds import FeatureKind

DYNAMIC_RANGE_DB = 80.0


class FeatureExtractor(nn.Module):
    """Waveforms (batch, clip_samples) in [-1, 1] to features (batch, bins, frames) of one kind.

    ``spectrogram`` and ``finish`` are its two halves: augmentation of spectrograms lies between.
    """

    def __init__(self, config: FeatureConfig, kind: FeatureKind) -> None:
        super().__init__()
        self.config = config
        self.kind: FeatureKind = kind
        self.frontend: Frontend | EncoderFrontend | None = None
        if kind == "encoder":
            self.frontend = EncoderFrontend(config)
        elif kind != "waveform":
            self.frontend = Frontend(config)

    @property
    def frames_per_second(self) -> float | None:
        """None for waveforms, which have no frames."""
        if self.frontend is None:
            return None
        features = self.frontend.config
        return features.frames / features.clip_seconds

    def forward(self, waveform: Tensor) -> Tensor:
        """Features (batch, bins, frames)."""
        return self.finish(self.spectrogram(waveform))

    def spectrogram(self, waveform: Tensor) -> Tensor:
        """Log-mel (batch, bins, frames); for the kind ``waveform`` (batch, 1, samples)."""
        if self.frontend is None:
            return waveform.unsqueeze(1)
        return self.frontend.log_mel(waveform)

    def finish(self, spectrogram: Tensor) -> Tensor:
        """Features (batch, bins, frames) of what ``spectrogram`` gives."""
        if isinstance(self.frontend, Frontend) and self.kind == "mfcc":
            return self.frontend.mfcc(spectrogram)
        return spectrogram


class EncoderFrontend(nn.Module):
    """Waveforms (batch, clip_samples) in [-1, 1] to the speech encoder's input.

    Log-mel (batch, 32, frames) of 16-bit full scale with a floor 80 dB below the loudest value of
    the clip, as dB / 10 + 2: what the encoder's weights were trained on.
    """

    def __init__(self, config: FeatureConfig) -> None:
        super().__init__()
        self.padding = padding_samples(config)
        self.config = encoder_features(config)
        self.frontend = Frontend(self.config)
        # The spectrum of a window is proportional to its number of samples.
        self.scale = INT16_FULL_SCALE * ENCODER_RATE_HZ / config.sample_rate_hz

    def log_mel(self, waveform: Tensor) -> Tensor:
        """The encoder's input (batch, 32, frames)."""
        padded = nn.functional.pad(waveform * self.scale, (self.padding, self.padding))
        log_mel = self.frontend.log_mel(padded)
        floor = log_mel.amax(dim=(1, 2), keepdim=True) - DYNAMIC_RANGE_DB
        return torch.maximum(log_mel, floor) / 10 + 2
