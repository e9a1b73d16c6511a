"""Waveforms as 16-bit integers or floats: what recordings are, and what is computed with."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# As libsndfile scales: full scale is -32768, so that 1.0 itself is just out of reach.
INT16_FULL_SCALE = 32768


def as_float(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Samples (...) as float32: integers are divided by full scale, floats stay what they are."""
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / np.float32(INT16_FULL_SCALE)
    return np.ascontiguousarray(samples, np.float32)


def as_int16(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """Samples (...) in [-1, 1] as int16, rounded to the nearest and held at full scale."""
    scaled = np.round(samples * np.float32(INT16_FULL_SCALE))
    return np.clip(scaled, -INT16_FULL_SCALE, INT16_FULL_SCALE - 1).astype(np.int16)
