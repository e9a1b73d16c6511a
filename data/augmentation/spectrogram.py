"""Augmentation of log-mel features: vocal tract warp, time warp, SpecAugment masks.

Pure functions of features (batch, n_mels, frames) and a ``torch.Generator`` on their device.
Parameters are drawn per clip. torchaudio's ``phase_vocoder`` takes one rate a call and is no
replacement for ``warp_time``: 78 times as long for 64 clips, and on spectra before the mel filters.
"""

import math

import torch
from torch import Generator, Tensor

from earful.data.augmentation.sampling import FloatRange, log_uniform, uniform


def warp_vocal_tract(
    log_mel: Tensor, factors: FloatRange, bend: float, generator: Generator
) -> Tensor:
    """Stretch the mel axis of (batch, n_mels, frames) as a longer or shorter vocal tract would.

    VTLP: Jaitly and Hinton, ICML workshop 2013, here on the mel axis, linear between mel bins.
    Vocal tracts do not differ in length alone, so the factor varies along the axis by ``bend``.
    """
    return _warp_axis(log_mel.transpose(1, 2), 0, factors, bend, generator).transpose(1, 2)


def warp_time(log_mel: Tensor, factors: FloatRange, bend: float, generator: Generator) -> Tensor:
    """Change the tempo at constant pitch, unevenly within the clip: (batch, n_mels, frames).

    The tempo is drawn from ``factors``, about the middle frame, and varies by up to ``bend`` within
    the clip, as the time warping of SpecAugment (arXiv:1904.08779, section 2).
    """
    middle = (log_mel.shape[2] - 1) / 2
    return _warp_axis(log_mel, middle, factors, bend, generator)


def _warp_axis(
    x: Tensor, anchor: float, factors: FloatRange, bend: float, generator: Generator
) -> Tensor:
    """Resample the last axis of (batch, rows, size) at another rate, with linear interpolation.

    The rate of a clip is drawn from ``factors``; a sine of random phase, one period over the axis,
    varies it by up to the share ``bend``. Position ``anchor`` is fixed; edge values are repeated.
    """
    batch, rows, size = x.shape
    factor = log_uniform(batch, factors, x, generator)
    strength = uniform(batch, (-bend, bend), x, generator)
    phase = uniform(batch, (0, 2 * math.pi), x, generator)
    offset = torch.arange(size, device=x.device, dtype=x.dtype) - anchor
    turn = 2 * math.pi / size
    wave = (torch.sin(offset * turn + phase) - torch.sin(phase)) / turn  # slope at most 1
    position = (anchor + (offset + strength * wave) * factor).clamp(0, size - 1)  # (batch, size)
    low = position.floor().long()
    high = (low + 1).clamp_max(size - 1)
    share = (position - low).unsqueeze(1)
    at_low, at_high = (x.gather(2, i.unsqueeze(1).expand(-1, rows, -1)) for i in (low, high))
    return at_low * (1 - share) + at_high * share


def spec_augment(
    features: Tensor,
    max_mask_bins: int,
    max_mask_frames: int,
    masks_per_axis: int,
    generator: Generator,
) -> Tensor:
    """SpecAugment (arXiv:1904.08779, section 2): masked values become the mean of the clip.

    ``masks_per_axis`` masks of up to ``max_mask_bins`` bins and ``max_mask_frames`` frames on
    (batch, n_mels, frames).
    """
    # torchaudio's mask_along_axis_iid draws from the global generator, which threads share.
    _, n_mels, frames = features.shape
    kept = torch.ones_like(features, dtype=torch.bool)
    for _ in range(masks_per_axis):
        kept &= _kept_positions(features, n_mels, max_mask_bins, generator).unsqueeze(2)
        kept &= _kept_positions(features, frames, max_mask_frames, generator).unsqueeze(1)
    return torch.where(kept, features, features.mean(dim=(1, 2), keepdim=True))


def _kept_positions(features: Tensor, size: int, max_width: int, generator: Generator) -> Tensor:
    """Positions (batch, size) outside a mask of 0 to ``max_width`` positions a clip."""
    batch = len(features)
    width = uniform(batch, (0, min(max_width, size) + 1), features, generator).floor()
    start = (uniform(batch, (0, 1), features, generator) * (size - width + 1)).floor()
    position = torch.arange(size, device=features.device)
    return (position < start) | (position >= start + width)
