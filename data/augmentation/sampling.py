"""Random numbers for augmentation, one per clip, from a ``torch.Generator`` on the device."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor
from torchaudio.functional import DB_to_amplitude

FloatRange = tuple[float, float]


def apply_with_probability(
    clips: Tensor, probability: float, transform: Callable[[Tensor], Tensor], generator: Generator
) -> Tensor:
    """Transform each clip (batch, ...) with a probability; computes only the selected clips."""
    drawn = torch.rand(len(clips), generator=generator, device=clips.device) < probability
    rows = drawn.nonzero().squeeze(1)
    return clips.index_copy(0, rows, transform(clips[rows])) if len(rows) else clips


def uniform(batch: int, bounds: FloatRange, like: Tensor, generator: Generator) -> Tensor:
    """A uniform number in ``bounds`` per clip (batch, 1)."""
    drawn = torch.rand((batch, 1), generator=generator, device=like.device, dtype=like.dtype)
    return bounds[0] + (bounds[1] - bounds[0]) * drawn


def log_uniform(batch: int, bounds: FloatRange, like: Tensor, generator: Generator) -> Tensor:
    return uniform(batch, (math.log(bounds[0]), math.log(bounds[1])), like, generator).exp()


def normal(shape: tuple[int, int], like: Tensor, generator: Generator) -> Tensor:
    return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)


def rand_like(like: Tensor, generator: Generator) -> Tensor:
    return torch.rand(like.shape, generator=generator, device=like.device, dtype=like.dtype)


def decibels_to_factor(decibels: Tensor) -> Tensor:
    """Amplitude factor of decibels, of the same shape."""
    factor: Tensor = DB_to_amplitude(decibels, ref=1.0, power=0.5)
    return factor
