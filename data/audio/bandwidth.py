"""The highest frequency that holds sound: resampling a narrow recording does not widen it."""

import numpy as np

from earful.data.audio.decode import Waveform

_N_FFT = 1024
# Below the loudest bin. The noise of a room lies above; what a resampler leaves lies below.
_RANGE_DB = 60.0
# Rounding to 16 bits is white noise of this power per sample; its loudest bins lie 12 dB above.
_ROUNDING_POWER = (1 / 32_768) ** 2 / 12
_ROUNDING_MARGIN_DB = 15.0


def find_bandwidth_hz(waveform: Waveform, rate_hz: int) -> float:
    """The highest frequency in hertz that holds sound, in any part of (samples,); 0 for silence.

    A bin holds sound if its highest power over all frames is within 60 dB of the loudest bin, and
    above the rounding to 16 bits.
    """
    frames = _frames(waveform)
    window = np.hanning(_N_FFT)
    power = np.square(np.abs(np.fft.rfft(frames * window, axis=1))).max(axis=0)
    floor = _ROUNDING_POWER * float(np.square(window).sum()) * 10 ** (_ROUNDING_MARGIN_DB / 10)
    threshold = max(floor, float(power.max()) * 10 ** (-_RANGE_DB / 10))
    sounding = np.flatnonzero(power > threshold)
    return float(sounding[-1] * rate_hz / _N_FFT) if len(sounding) else 0.0


def _frames(waveform: Waveform) -> Waveform:
    """(frames, n_fft) side by side; a rest is left out, as a cut inside a frame sounds wide."""
    if len(waveform) < _N_FFT:
        waveform = np.pad(waveform, (0, _N_FFT - len(waveform)))
    n_frames = len(waveform) // _N_FFT
    frames: Waveform = waveform[: n_frames * _N_FFT].reshape(n_frames, _N_FFT)
    return frames
