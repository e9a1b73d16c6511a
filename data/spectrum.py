"""The log-mel spectrogram of one waveform in plain numpy, where torch would be too much to load."""

import numpy as np
from numpy.typing import NDArray

from data.audio import Waveform
from data.features import FeatureConfig, mel_filters

_POWER_FLOOR = 1e-10  # as data.frontend: digital silence is -100 dB


def log_mel(waveform: Waveform, config: FeatureConfig) -> NDArray[np.float32]:
    """Decibels re full scale (frames, n_mels) of (samples,), centred frames, any length.

    The values of ``data.frontend`` for a clip of this length; ``clip_seconds`` plays no part.
    """
    half, window = config.n_fft // 2, np.zeros(config.n_fft)
    before = (config.n_fft - config.win_length) // 2
    n = np.arange(config.win_length)
    window[before : before + config.win_length] = 0.5 - 0.5 * np.cos(
        2 * np.pi * n / config.win_length
    )
    padded = np.pad(waveform, half)
    frames = np.lib.stride_tricks.sliding_window_view(padded, config.n_fft)[:: config.hop_length]
    spectrum = np.fft.rfft(frames * window)
    power = (spectrum.real**2 + spectrum.imag**2) @ mel_filters(config).T
    return (10 * np.log10(np.maximum(power, _POWER_FLOOR))).astype(np.float32)
