"""Clips of one length out of audio of any length; pure functions on (samples,) float32 arrays."""

import numpy as np
from numpy.typing import NDArray

from data.audio import Waveform


def pad_to_clip(waveform: Waveform, clip_samples: int) -> Waveform:
    """Centre a waveform (samples,), at most a clip long, in digital silence: (clip_samples,)."""
    missing = clip_samples - len(waveform)
    if missing == 0:
        return waveform
    clip = np.zeros(clip_samples, np.float32)
    clip[missing // 2 : missing // 2 + len(waveform)] = waveform
    return clip


def loudest_clip(waveform: Waveform, clip_samples: int) -> Waveform:
    """One clip (clip_samples,) of a waveform: padded when short, else cut where it is loudest."""
    if len(waveform) <= clip_samples:
        return pad_to_clip(waveform, clip_samples)
    start = loudest_start(waveform, clip_samples)
    return waveform[start : start + clip_samples]


def loudest_start(waveform: Waveform, clip_samples: int) -> int:
    """First sample of the clip-long stretch in whose middle the energy of (samples,) is centred.

    Energy is weighted by a Hann window over the stretch, so that a short word comes to lie in the
    middle, as it does in a clip of its own. Energies are summed over blocks of a 64th of a clip,
    which bounds the precision.
    """
    surplus = len(waveform) - clip_samples
    block = max(1, clip_samples // 64)
    energy = np.add.reduceat(
        np.square(waveform, dtype=np.float64), np.arange(0, len(waveform), block)
    )
    weights = np.hanning(clip_samples // block + 2)[1:-1]
    weighted = np.convolve(energy, weights, mode="valid")
    starts = np.minimum(np.arange(len(weighted)) * block, surplus)
    best = np.flatnonzero(weighted >= weighted.max() * (1 - 1e-9))
    return int(starts[best[len(best) // 2]])


def window_starts(n_samples: int, clip_samples: int, hop_samples: int) -> NDArray[np.int64]:
    """First samples of the windows that cover a waveform; the last one ends where it ends.

    A waveform of at most one clip is one window. Otherwise neighbours are at most a hop apart.
    """
    surplus = max(0, n_samples - clip_samples)
    starts = np.arange(0, surplus, hop_samples, dtype=np.int64)
    return np.append(starts, np.int64(surplus))
