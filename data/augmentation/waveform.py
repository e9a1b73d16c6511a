"""Augmentation of waveforms: speed, time shift, gain, equaliser, band limits, room, codec.

Pure functions of waveforms (batch, samples) and a ``torch.Generator`` on their device. Parameters
are drawn per clip.
"""

import math
from functools import cache

import torch
from torch import Generator, Tensor
from torch.nn.functional import interpolate, pad
from torchaudio.functional import fftconvolve, mu_law_decoding, mu_law_encoding
from torchaudio.transforms import Resample

from earful.data.augmentation.device_copy import copy_to_device
from earful.data.augmentation.sampling import (
    FloatRange,
    decibels_to_factor,
    log_uniform,
    normal,
    uniform,
)

MU_LAW_CODES = 256  # the 8 bits of G.711
_EPSILON = 1e-9


def change_speed(waveforms: Tensor, factors: FloatRange, generator: Generator) -> Tensor:
    """Resample each clip (batch, samples) about its middle: changes tempo, pitch and formants.

    Factors are rounded to 1 %, and clips of one factor are resampled together. Speed perturbation:
    Ko et al., Interspeech 2015.
    """
    batch, samples = waveforms.shape
    factor = log_uniform(batch, factors, waveforms, generator).squeeze(1)
    percents = (100 * factor).round().int().cpu()
    changed = torch.empty_like(waveforms)
    for percent in sorted(set(percents.tolist())):
        rows = copy_to_device((percents == percent).nonzero().squeeze(1), waveforms.device)
        resampled = _resampler(percent, waveforms.device)(waveforms[rows])
        missing = samples - resampled.shape[1]  # negative: samples to cut
        changed[rows] = pad(resampled, (missing // 2, missing - missing // 2))
    return changed


@cache
def _resampler(percent: int, device: torch.device) -> Resample:
    """Kept, since computing its filter takes as long as applying it to a few clips."""
    return Resample(orig_freq=percent, new_freq=100).to(device)


def trim_edges(waveforms: Tensor, threshold_db: FloatRange, generator: Generator) -> Tensor:
    """Zero the quiet parts before and after the word (batch, samples), as voice detectors do.

    Zeroes the blocks of 1/80 clip before the first and after the last block within a random
    threshold of the loudest: a weak "f" or "s" at the edge of a word is lost, as in trimmed
    recordings.
    """
    # librosa.effects.trim takes one waveform, on the CPU: 64 clips take 8 times as long.
    batch, samples = waveforms.shape
    size = max(1, samples // 80)
    blocks = -(-samples // size)
    padded = pad(waveforms, (0, blocks * size - samples))
    energy = padded.reshape(batch, blocks, size).square().mean(2)
    energy_db = 2 * uniform(batch, threshold_db, waveforms, generator)
    threshold = decibels_to_factor(energy_db)
    loud = (energy >= energy.amax(1, keepdim=True) * threshold).to(energy.dtype)
    from_onset, until_offset = loud.cummax(1).values, loud.flip(1).cummax(1).values.flip(1)
    inside = (from_onset * until_offset).repeat_interleave(size, dim=1)[:, :samples]
    return waveforms * inside


def shift_time(waveforms: Tensor, max_shift_samples: int, generator: Generator) -> Tensor:
    """Shift each clip (batch, samples) by up to ``max_shift_samples`` either way, with zeros."""
    batch, samples = waveforms.shape
    max_shift = min(max_shift_samples, samples)
    shift = (uniform(batch, (-1, 1), waveforms, generator) * max_shift).long()
    index = torch.arange(max_shift, max_shift + samples, device=waveforms.device) - shift
    return pad(waveforms, (max_shift, max_shift)).gather(1, index)


def change_gain(waveforms: Tensor, decibels: FloatRange, generator: Generator) -> Tensor:
    """Scale each clip (batch, samples) by a random gain in dB."""
    return waveforms * decibels_to_factor(uniform(len(waveforms), decibels, waveforms, generator))


def equalise(waveforms: Tensor, decibels: float, generator: Generator) -> Tensor:
    """Apply a random smooth frequency response, as of another microphone: (batch, samples).

    Eight evenly spaced points of -``decibels`` to ``decibels``, linearly interpolated.
    """
    # torchaudio's equalizer_biquad takes one gain a call, and its lfilter, with the coefficients of
    # every clip and eight biquads, 13 times as long (64 clips of a second at 8 kHz: 32 ms).
    batch, samples = waveforms.shape
    points = uniform(batch * 8, (-decibels, decibels), waveforms, generator).reshape(batch, 1, 8)
    bins = samples // 2 + 1
    curve = interpolate(points, bins, mode="linear", align_corners=True)[:, 0]
    response = decibels_to_factor(curve)
    filtered: Tensor = torch.fft.irfft(torch.fft.rfft(waveforms) * response, samples)
    return filtered


def limit_band(waveforms: Tensor, sample_rate_hz: int, generator: Generator) -> Tensor:
    """Band-pass (batch, samples) from 50-500 Hz to 35-100 % of Nyquist, as telephones do."""
    # torchaudio's highpass_biquad and lowpass_biquad take one frequency a call, in all 3 to 6 times
    # as long, and are too flat: 3.4 kHz leave 5 kHz at -12 dB, where a telephone leaves nothing.
    batch, samples = waveforms.shape
    hz = torch.fft.rfftfreq(samples, 1 / sample_rate_hz, device=waveforms.device)
    low = log_uniform(batch, (50.0, 500.0), waveforms, generator)
    nyquist = sample_rate_hz / 2
    high = uniform(batch, (0.35 * nyquist, nyquist), waveforms, generator)
    response = torch.sigmoid((hz - low) / 30) * torch.sigmoid((high - hz) / 60)
    filtered: Tensor = torch.fft.irfft(torch.fft.rfft(waveforms) * response, samples)
    return filtered


def reverberate(
    waveforms: Tensor, seconds: FloatRange, sample_rate_hz: int, generator: Generator
) -> Tensor:
    """Convolve each clip (batch, samples) with noise that decays by 60 dB in ``seconds`` (RT60).

    At least half of the energy is direct sound. Model of diffuse reverberation: Polack, 1988.
    """
    batch, samples = waveforms.shape
    # With one more than the tail, the transform is of samples + tail, which has small factors for
    # whole milliseconds: without it, it takes four times as long.
    length = min(samples, round(seconds[1] * sample_rate_hz)) + 1
    time = torch.arange(length, device=waveforms.device) / sample_rate_hz
    decay = math.log(1000) / uniform(batch, seconds, waveforms, generator)
    tail = normal((batch, length), waveforms, generator) * torch.exp(-decay * time)
    tail = tail / (tail.square().sum(1, keepdim=True).sqrt() + _EPSILON)
    response = tail * decibels_to_factor(uniform(batch, (-20.0, 0.0), waveforms, generator))
    response[:, 0] = 1.0
    reverberant: Tensor = fftconvolve(waveforms, response)
    return reverberant[:, :samples]


def clip_peaks(waveforms: Tensor, generator: Generator) -> Tensor:
    """Clip each waveform (batch, samples) at 10 to 70 % of its peak."""
    share = uniform(len(waveforms), (0.1, 0.7), waveforms, generator)
    bound = waveforms.abs().amax(1, keepdim=True) * share
    return torch.maximum(torch.minimum(waveforms, bound), -bound)


def code_mu_law(waveforms: Tensor, generator: Generator) -> Tensor:
    """Quantise (batch, samples) as a telephone codec: mu-law with 4 to 8 bits (G.711 has 8).

    Zero is not among the levels: silence becomes -81 dBFS.
    """
    bits = uniform(len(waveforms), (4.0, 8.99), waveforms, generator).floor()
    step = 2 ** (8 - bits)
    codes = mu_law_encoding(waveforms.clamp(-1, 1), MU_LAW_CODES)
    coarse = ((codes / step).round() * step).clamp_max(MU_LAW_CODES - 1)
    coded: Tensor = mu_law_decoding(coarse, MU_LAW_CODES)
    return coded
