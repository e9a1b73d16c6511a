"""Augmentation of waveforms: speed, time shift, gain, equaliser, band limits, room, codec.

Pure functions of waveforms (batch, samples) and a ``torch.Generator`` on their device. Parameters
are drawn per clip.
"""

import math

import torch
from torch import Generator, Tensor

from earful.data.augmentation.sampling import (
    FloatRange,
    decibels_to_factor,
    log_uniform,
    normal,
    uniform,
)

MU = 255.0  # mu-law companding of G.711
_EPSILON = 1e-9


def change_speed(waveforms: Tensor, factors: FloatRange, generator: Generator) -> Tensor:
    """Resample each clip (batch, samples) about its middle: changes tempo, pitch and formants.

    Cubic interpolation (Catmull-Rom). Speed perturbation: Ko et al., Interspeech 2015.
    """
    batch, samples = waveforms.shape
    factor = log_uniform(batch, factors, waveforms, generator)
    middle = (samples - 1) / 2
    time = torch.arange(samples, device=waveforms.device, dtype=waveforms.dtype)
    # In-place operations take a third of the time; this was the slowest waveform step.
    position = ((time - middle) * factor).add_(middle).clamp_(-1, samples)  # zeros outside
    whole = position.floor()
    t = position.sub_(whole)
    padded = torch.nn.functional.pad(waveforms, (2, 3))
    index = whole.long().add_(1)
    before, here, after, beyond = (padded.gather(1, index + offset) for offset in range(4))
    slope_here, slope_after = (after - before).mul_(0.5), beyond.sub_(here).mul_(0.5)
    fall = here - after
    cubic = (2 * fall).add_(slope_here).add_(slope_after)
    square = fall.mul_(-3).sub_(slope_here, alpha=2).sub_(slope_after)
    return cubic.mul_(t).add_(square).mul_(t).add_(slope_here).mul_(t).add_(here)


def trim_edges(waveforms: Tensor, threshold_db: FloatRange, generator: Generator) -> Tensor:
    """Zero the quiet parts before and after the word (batch, samples), as voice detectors do.

    Zeroes the blocks of 1/80 clip before the first and after the last block within a random
    threshold of the loudest: a weak "f" or "s" at the edge of a word is lost, as in trimmed
    recordings.
    """
    batch, samples = waveforms.shape
    size = max(1, samples // 80)
    blocks = -(-samples // size)
    padded = torch.nn.functional.pad(waveforms, (0, blocks * size - samples))
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
    return torch.nn.functional.pad(waveforms, (max_shift, max_shift)).gather(1, index)


def change_gain(waveforms: Tensor, decibels: FloatRange, generator: Generator) -> Tensor:
    """Scale each clip (batch, samples) by a random gain in dB."""
    return waveforms * decibels_to_factor(uniform(len(waveforms), decibels, waveforms, generator))


def equalise(waveforms: Tensor, decibels: float, generator: Generator) -> Tensor:
    """Apply a random smooth frequency response, as of another microphone: (batch, samples).

    Eight evenly spaced points of -``decibels`` to ``decibels``, linearly interpolated.
    """
    batch, samples = waveforms.shape
    points = uniform(batch * 8, (-decibels, decibels), waveforms, generator).reshape(batch, 1, 8)
    bins = samples // 2 + 1
    curve = torch.nn.functional.interpolate(points, bins, mode="linear", align_corners=True)[:, 0]
    response = decibels_to_factor(curve)
    filtered: Tensor = torch.fft.irfft(torch.fft.rfft(waveforms) * response, samples)
    return filtered


def limit_band(waveforms: Tensor, sample_rate_hz: int, generator: Generator) -> Tensor:
    """Band-pass (batch, samples) from 50-500 Hz to 35-100 % of Nyquist, as telephones do."""
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
    length = min(samples, round(seconds[1] * sample_rate_hz))
    time = torch.arange(length, device=waveforms.device) / sample_rate_hz
    decay = math.log(1000) / uniform(batch, seconds, waveforms, generator)
    tail = normal((batch, length), waveforms, generator) * torch.exp(-decay * time)
    tail = tail / (tail.square().sum(1, keepdim=True).sqrt() + _EPSILON)
    response = tail * decibels_to_factor(uniform(batch, (-20.0, 0.0), waveforms, generator))
    response[:, 0] = 1.0
    size = samples + length
    spectrum = torch.fft.rfft(waveforms, size) * torch.fft.rfft(response, size)
    reverberant: Tensor = torch.fft.irfft(spectrum, size)[:, :samples]
    return reverberant


def clip_peaks(waveforms: Tensor, generator: Generator) -> Tensor:
    """Clip each waveform (batch, samples) at 10 to 70 % of its peak."""
    share = uniform(len(waveforms), (0.1, 0.7), waveforms, generator)
    bound = waveforms.abs().amax(1, keepdim=True) * share
    return torch.maximum(torch.minimum(waveforms, bound), -bound)


def code_mu_law(waveforms: Tensor, generator: Generator) -> Tensor:
    """Quantise (batch, samples) as a telephone codec: mu-law with 4 to 8 bits (G.711 has 8)."""
    bits = uniform(len(waveforms), (4.0, 8.99), waveforms, generator).floor()
    steps = 2 ** (bits - 1)
    x = waveforms.clamp(-1, 1)
    compressed = x.sign() * torch.log1p(MU * x.abs()) / math.log1p(MU)
    quantised = (compressed * steps).round() / steps
    return quantised.sign() * torch.expm1(quantised.abs() * math.log1p(MU)) / MU
