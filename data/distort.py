"""What a voice meets on its way to a file: tempo, distance, room, microphone, codec.

Pure functions of waveforms (batch, samples) and a ``torch.Generator`` of their device; each clip
draws its own parameters.
"""

import math

import torch
from torch import Generator, Tensor

from data.draw import Range, decibels_to_factor, log_uniform, normal, sometimes, uniform

MU = 255.0  # of the mu-law companding of G.711
_EPSILON = 1e-9


def change_speed(waveforms: Tensor, factors: Range, generator: Generator) -> Tensor:
    """Play each clip (batch, samples) faster or slower about its middle: tempo, pitch and formants.

    Cubic interpolation (Catmull-Rom). Speed perturbation: Ko et al., Interspeech 2015.
    """
    batch, samples = waveforms.shape
    factor = log_uniform(batch, factors, waveforms, generator)
    middle = (samples - 1) / 2
    time = torch.arange(samples, device=waveforms.device, dtype=waveforms.dtype)
    position = middle + (time - middle) * factor  # (batch, samples)
    whole = position.floor()
    t = position - whole
    index = whole.long()
    before, here, after, beyond = (
        _sample_at(waveforms, index + offset) for offset in (-1, 0, 1, 2)
    )
    slope_here, slope_after = (after - before) / 2, (beyond - here) / 2
    cubic = 2 * (here - after) + slope_here + slope_after
    square = 3 * (after - here) - 2 * slope_here - slope_after
    return ((cubic * t + square) * t + slope_here) * t + here


def cut_edges(
    waveforms: Tensor, threshold_db: Range, chance: float, generator: Generator
) -> Tensor:
    """Silence what is weak before and after the word (batch, samples), as voice detectors do.

    Blocks of an 80th of a clip before the first and after the last one within a drawn threshold of
    the loudest: an "f" or an "s" at the edge of a word goes, as it does in trimmed recordings.
    """
    batch, samples = waveforms.shape
    size = max(1, samples // 80)
    blocks = -(-samples // size)
    padded = torch.nn.functional.pad(waveforms, (0, blocks * size - samples))
    energy = padded.reshape(batch, blocks, size).square().mean(2)
    threshold = decibels_to_factor(
        2 * uniform(batch, threshold_db, waveforms, generator)
    )  # of energy
    loud = (energy >= energy.amax(1, keepdim=True) * threshold).to(energy.dtype)
    begun, to_come = loud.cummax(1).values, loud.flip(1).cummax(1).values.flip(1)
    inside = (begun * to_come).repeat_interleave(size, dim=1)[:, :samples]
    return sometimes(waveforms, waveforms * inside, chance, generator)


def shift_time(waveforms: Tensor, most_samples: int, generator: Generator) -> Tensor:
    """Move each clip (batch, samples) by up to ``most_samples`` either way; silence comes in."""
    batch, samples = waveforms.shape
    shift = (uniform(batch, (-1, 1), waveforms, generator) * most_samples).long()
    index = torch.arange(samples, device=waveforms.device) - shift
    return _sample_at(waveforms, index)


def change_gain(waveforms: Tensor, decibels: Range, generator: Generator) -> Tensor:
    """Make each clip (batch, samples) louder or softer."""
    return waveforms * decibels_to_factor(uniform(len(waveforms), decibels, waveforms, generator))


def equalise(waveforms: Tensor, decibels: float, chance: float, generator: Generator) -> Tensor:
    """A random smooth frequency response, as of another microphone: (batch, samples).

    Eight points evenly spaced over the band, up to ``decibels`` up or down, joined by lines.
    """
    batch, samples = waveforms.shape
    points = uniform(batch * 8, (-decibels, decibels), waveforms, generator).reshape(batch, 1, 8)
    bins = samples // 2 + 1
    curve = torch.nn.functional.interpolate(points, bins, mode="linear", align_corners=True)[:, 0]
    changed = torch.fft.irfft(torch.fft.rfft(waveforms) * decibels_to_factor(curve), samples)
    return sometimes(waveforms, changed, chance, generator)


def limit_band(
    waveforms: Tensor, chance: float, sample_rate_hz: int, generator: Generator
) -> Tensor:
    """Cut lows below 50 to 500 Hz and highs above 35 to 100 % of the band, as telephones do."""
    batch, samples = waveforms.shape
    hz = torch.fft.rfftfreq(samples, 1 / sample_rate_hz, device=waveforms.device)
    low = log_uniform(batch, (50.0, 500.0), waveforms, generator)
    nyquist = sample_rate_hz / 2
    high = uniform(batch, (0.35 * nyquist, nyquist), waveforms, generator)
    response = torch.sigmoid((hz - low) / 30) * torch.sigmoid((high - hz) / 60)
    changed = torch.fft.irfft(torch.fft.rfft(waveforms) * response, samples)
    return sometimes(waveforms, changed, chance, generator)


def reverberate(
    waveforms: Tensor, seconds: Range, chance: float, sample_rate_hz: int, generator: Generator
) -> Tensor:
    """A room: each clip convolved with noise that decays by 60 dB in ``seconds``.

    The direct sound keeps half of the energy or more. Model of diffuse reverberation: Polack, 1988.
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
    changed = torch.fft.irfft(spectrum, size)[:, :samples]
    return sometimes(waveforms, changed, chance, generator)


def clip_peaks(waveforms: Tensor, chance: float, generator: Generator) -> Tensor:
    """Overdrive: cut each clip (batch, samples) at 10 to 70 % of its peak."""
    share = uniform(len(waveforms), (0.1, 0.7), waveforms, generator)
    bound = waveforms.abs().amax(1, keepdim=True) * share
    changed = torch.maximum(torch.minimum(waveforms, bound), -bound)
    return sometimes(waveforms, changed, chance, generator)


def code_mu_law(waveforms: Tensor, chance: float, generator: Generator) -> Tensor:
    """The quantisation of a telephone codec: mu-law in 4 to 8 bits (G.711 has 8)."""
    bits = uniform(len(waveforms), (4.0, 8.99), waveforms, generator).floor()
    steps = 2 ** (bits - 1)
    x = waveforms.clamp(-1, 1)
    compressed = x.sign() * torch.log1p(MU * x.abs()) / math.log1p(MU)
    coarse = (compressed * steps).round() / steps
    changed = coarse.sign() * torch.expm1(coarse.abs() * math.log1p(MU)) / MU
    return sometimes(waveforms, changed, chance, generator)


def _sample_at(waveforms: Tensor, index: Tensor) -> Tensor:
    """Values (batch, samples) at whole positions; silence outside the clip."""
    inside = (index >= 0) & (index < waveforms.shape[1])
    return waveforms.gather(1, index.clamp(0, waveforms.shape[1] - 1)) * inside
