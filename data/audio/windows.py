"""Fixed-length clips from audio of any length; pure functions on (samples,) float32 arrays."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform


def pad_to_clip(waveform: Waveform, clip_samples: int) -> Waveform:
    """Centre a waveform (samples,), at most a clip long, in zeros: (clip_samples,)."""
    if len(waveform) == clip_samples:
        return waveform
    clip: Waveform = pad_to_clips([waveform], clip_samples)[0]
    return clip


def pad_to_clips(waveforms: Sequence[Waveform], clip_samples: int) -> NDArray[np.float32]:
    """Centre waveforms, each at most a clip long, in zeros: (batch, clip_samples)."""
    clips = np.zeros((len(waveforms), clip_samples), np.float32)
    for clip, waveform in zip(clips, waveforms, strict=True):
        start = (clip_samples - len(waveform)) // 2
        clip[start : start + len(waveform)] = waveform
    return clips


def loudest_clip(waveform: Waveform, clip_samples: int) -> Waveform:
    """One clip (clip_samples,): a short waveform padded, a long one cropped where it is loudest."""
    if len(waveform) <= clip_samples:
        return pad_to_clip(waveform, clip_samples)
    start = loudest_start(waveform, clip_samples)
    return waveform[
        start : start + clip_samples
    ].copy()  # a view would keep the recording in memory


def loudest_start(waveform: Waveform, clip_samples: int) -> int:
    """First sample of the clip-long window of (samples,) with the loudest centre.

    Loudness is the fourth root of the RMS of blocks of 1/64 clip, so that a word outweighs a louder
    click, after a first difference that removes hum and offset (as the pre-emphasis of speech
    coders). Weighting by a Hann window over the clip centres a short word, as in a short clip that
    is padded. The precision is one block.
    """
    block = loudness_block(clip_samples)
    previous = float(waveform[0]) if len(waveform) else 0.0
    return loudest_start_of_blocks(
        block_loudness(waveform, previous, block), len(waveform), clip_samples
    )


def loudness_block(clip_samples: int) -> int:
    """Samples per block of ``loudest_start``."""
    return max(1, clip_samples // 64)


def loudness_weights(clip_samples: int) -> NDArray[np.float64]:
    """Hann window (blocks,) over the blocks of a clip, without its zeros."""
    weights: NDArray[np.float64] = np.hanning(clip_samples // loudness_block(clip_samples) + 2)[
        1:-1
    ]
    return weights


def block_loudness(waveform: Waveform, previous: float, block: int) -> NDArray[np.float64]:
    """Loudness (blocks,) of each block of (samples,); ``previous`` is the sample before the first.

    A recording may be passed in chunks of whole blocks.
    """
    emphasised = np.diff(waveform.astype(np.float64), prepend=previous)
    starts = np.arange(0, len(waveform), block)
    sizes = np.diff(starts, append=len(waveform))
    loudness: NDArray[np.float64] = (
        np.add.reduceat(np.square(emphasised), starts) / sizes
    ) ** 0.125
    return loudness


def loudest_start_of_blocks(
    loudness: NDArray[np.float64], n_samples: int, clip_samples: int
) -> int:
    """``loudest_start`` of a recording of ``n_samples``, from its ``block_loudness`` (blocks,)."""
    block = loudness_block(clip_samples)
    weighted = np.convolve(loudness, loudness_weights(clip_samples), mode="valid")
    best = np.flatnonzero(weighted >= weighted.max() * (1 - 1e-9))
    return min(int(best[len(best) // 2]) * block, n_samples - clip_samples)


def window_starts(n_samples: int, clip_samples: int, hop_samples: int) -> NDArray[np.int64]:
    """First samples (windows,) of the windows that cover a waveform; the last ends at its end.

    A waveform of at most one clip is one window. Otherwise windows are at most a hop apart.
    """
    surplus = max(0, n_samples - clip_samples)
    starts = np.arange(0, surplus, hop_samples, dtype=np.int64)
    return np.append(starts, np.int64(surplus))
