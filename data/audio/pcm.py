"""Conversion between 16-bit integer and float waveforms."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# The scale of libsndfile: -1.0 is -32768, so +1.0 is just out of range and clips to 32767.
INT16_FULL_SCALE = 32768


def as_float(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Samples (...) as float32: int16 is divided by full scale, floats are unchanged."""
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / np.float32(INT16_FULL_SCALE)
    return np.ascontiguousarray(samples, np.float32)


def as_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples (...) in [-1, 1] as int16, rounded to nearest and clipped to full scale."""
    scaled = np.round(samples * np.float32(INT16_FULL_SCALE))
    return np.clip(scaled, -INT16_FULL_SCALE, INT16_FULL_SCALE - 1).astype(np.int16)
