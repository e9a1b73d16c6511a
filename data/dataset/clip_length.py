"""How long the clips of a dataset are, from the lengths of its recordings; pure functions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Networks and the event detector are made for a second and more; above ten seconds a clip costs
# more memory than it tells (10 s at 16 kHz: 640 kB of waveform, 626 frames).
CLIP_LENGTHS_SECONDS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
# The share of recordings that must fit; the others are cropped to their loudest part.
HELD_SHARE = 0.95
# Codecs pad and cutting tools round: 5.02 s fit in 5 s.
_LENGTH_TOLERANCE = 0.01
# Between the 3 and the 10 s of work on GTZAN, and what BirdCLEF scores.
WINDOW_SECONDS = 5.0
# A rest of a recording that is shorter is left out, a longer one is padded.
MIN_TAIL_SHARE = 0.5
# Five minutes of a recording say what it sounds like; few long ones must not outnumber all others.
MAX_WINDOWS_PER_RECORDING = 60
# Of all recordings together: 20 GB of tensors at 16 kHz.
MAX_WINDOWS = 50_000

TimeSpan = tuple[float, float]


@dataclass(frozen=True)
class ClipLength:
    """A clip's length in seconds, and the share of the recordings that fit in it.

    With ``windowed`` too few fit in the longest clip: long recordings become windows of ``seconds``
    and ``share`` is of those that fit in the longest clip.
    """

    seconds: float
    share: float
    windowed: bool = False


def choose_clip_length(lengths: Sequence[float]) -> ClipLength:
    """The shortest round length that holds 95 % of recordings of ``lengths`` seconds, else windows.

    Without any length: a second.
    """
    if not len(lengths):
        return ClipLength(CLIP_LENGTHS_SECONDS[0], 1.0)
    share = 0.0
    for seconds in CLIP_LENGTHS_SECONDS:
        share = float(np.mean([fits(length, seconds) for length in lengths]))
        if share >= HELD_SHARE:
            return ClipLength(seconds, share)
    return ClipLength(WINDOW_SECONDS, share, windowed=True)


def fits(length: float, clip_seconds: float) -> bool:
    """Whether a recording of ``length`` seconds fits in a clip, but for what codecs pad."""
    return length <= clip_seconds * (1 + _LENGTH_TOLERANCE)


def max_windows_each(n_recordings: int) -> int:
    """How many windows each of ``n_recordings`` may give."""
    return max(1, min(MAX_WINDOWS_PER_RECORDING, MAX_WINDOWS // max(1, n_recordings)))


def window_spans(start: float, end: float, seconds: float, max_windows: int) -> list[TimeSpan]:
    """Windows of ``seconds`` side by side from ``start`` to ``end``; none if one clip holds it all.

    A rest of at least half a window is a window too, which ends with the recording. Of more than
    ``max_windows``, those at equal distances over the whole recording remain.
    """
    length = end - start
    n_whole = math.floor(length / seconds * (1 + 1e-9))
    spans = [(start + n * seconds, start + (n + 1) * seconds) for n in range(n_whole)]
    if length - n_whole * seconds >= MIN_TAIL_SHARE * seconds:
        spans.append((start + n_whole * seconds, end))
    if fits(length, seconds) or len(spans) < 2:
        return []
    chosen = np.linspace(0, len(spans) - 1, min(len(spans), max_windows)).round().astype(int)
    return [(round(spans[i][0], 6), round(spans[i][1], 6)) for i in chosen]
