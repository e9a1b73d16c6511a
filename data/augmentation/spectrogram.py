"""Augmentation of log-mel features: other vocal tracts, other tempos, hidden bands and frames.

Pure functions of features (batch, n_mels, frames) and a ``torch.Generator`` of their device; each
clip draws its own parameters.
"""

import math

import torch
from torch import Generator, Tensor

from earful.data.augmentation.sampling import FloatRange, log_uniform, uniform


def warp_vocal_tract(
    log_mel: Tensor, factors: FloatRange, bend: float, generator: Generator
) -> Tensor:
    """Stretch the mel axis of (batch, n_mels, frames) as a longer or shorter vocal tract would.

    VTLP: Jaitly and Hinton, ICML workshop 2013, here in mel and between neighbouring bands.
    Since no two tracts differ by length alone, the stretch varies along the axis by ``bend``.
    """
    return _warp_axis(log_mel.transpose(1, 2), 0, factors, bend, generator).transpose(1, 2)


def warp_time(log_mel: Tensor, factors: FloatRange, bend: float, generator: Generator) -> Tensor:
    """Speak faster or slower at the same pitch, and unevenly: (batch, n_mels, frames).

    The tempo about the middle is drawn from ``factors`` and varies by up to ``bend`` within the
    clip, as in the time warping of SpecAugment (arXiv:1904.08779, section 2).
    """
    middle = (log_mel.shape[2] - 1) / 2
    return _warp_axis(log_mel, middle, factors, bend, generator)


def _warp_axis(
    x: Tensor, anchor: float, factors: FloatRange, bend: float, generator: Generator
) -> Tensor:
    """Read the last axis of (batch, rows, size) at another pace, linearly between neighbours.

    The pace of a clip is drawn from ``factors``; a sine of a drawn phase, one period over the axis,
    bends it by up to the share ``bend``. Position ``anchor`` stays, and edges are repeated.
    """
    batch, rows, size = x.shape
    factor = log_uniform(batch, factors, x, generator)
    strength = uniform(batch, (-bend, bend), x, generator)
    phase = uniform(batch, (0, 2 * math.pi), x, generator)
    offset = torch.arange(size, device=x.device, dtype=x.dtype) - anchor
    turn = 2 * math.pi / size
    wave = (torch.sin(offset * turn + phase) - torch.sin(phase)) / turn  # of slope at most 1
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
    """SpecAugment (arXiv:1904.08779, section 2): ``count`` masks an axis, at the mean."""
    batch, n_mels, frames = features.shape
    masked = torch.zeros_like(features, dtype=torch.bool)
    for size, max_width, axis in ((n_mels, max_mask_bins, 1), (frames, max_mask_frames, 2)):
        place = torch.arange(size, device=features.device)
        for _ in range(masks_per_axis):
            width = uniform(batch, (0, max_width), features, generator)
            start = uniform(batch, (0, 1), features, generator) * (size - width)
            covered = (place >= start) & (place < start + width)  # (batch, size)
            masked = masked | covered.unsqueeze(3 - axis)
    return torch.where(masked, features.mean(dim=(1, 2), keepdim=True), features)
