"""Words in a stream of sound: windows that move on by a hop, and one event for each word.

What stands out of the background is a word, up to the next pause. It is clearest in the middle of a
window, with nothing beside it, which is how the model has learnt words: so of each window only the
word nearest to its middle is kept, and when the centre of its energy passes the middle, the word is
heard, once. Its scores are averaged over the last hops in which it lay whole in the window; a gap
keeps what follows too soon from being another word.
"""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform

# Blocks of sound whose energy is weighed, and how far back the background is looked for.
BLOCK_SECONDS = 0.02
BACKGROUND_SECONDS = 5.0
# Quieter than this is silence, however quiet the rest is: -55 dB re full scale, as a power.
SILENCE_POWER = 10 ** (-55 / 10)
# What is less than 6 dB above the background is background.
ABOVE_BACKGROUND = 4.0
# A pause of so many blocks ends a word; the closures inside "six" and "eight" are shorter.
PAUSE_BLOCKS = 7
# So many blocks around a word belong to it: its soft beginning and end.
MARGIN_BLOCKS = 3
# Within this share of the window around its middle a word lies whole in it.
WHOLE_SHARE = 0.15


@dataclass(frozen=True)
class StreamOptions:
    """How a stream is listened to.

    sample_rate_hz   of the sound that comes in
    hop_seconds      how often there is a result
    min_score        below it, an averaged score is no event
    min_gap_seconds  events of one stream are at least so far apart
    smoothing_hops   over how many results scores are averaged
    """

    sample_rate_hz: int
    hop_seconds: float = 0.1
    min_score: float = 0.5
    min_gap_seconds: float = 0.3
    smoothing_hops: int = 3


@dataclass(frozen=True)
class Hop:
    """A window (samples,) at the model's rate, its times in the stream, and its word.

    ``waveform`` is silent where other words are. ``centre`` is where the energy of the word lies,
    from -0.5 (start) to 0.5 (end); None when it is quiet.
    """

    waveform: Waveform
    start_seconds: float
    end_seconds: float
    centre: float | None
    word_start_seconds: float
    word_end_seconds: float


@dataclass(frozen=True)
class Event:
    """A word: when it was heard, and the averaged scores (labels,)."""

    start_seconds: float
    end_seconds: float
    scores: NDArray[np.float32]


class Windows:
    """Sound in pieces of any size to windows of ``clip_samples``, a hop apart."""

    def __init__(self, options: StreamOptions, sample_rate_hz: int, clip_samples: int) -> None:
        self._rate_hz, self._clip_samples = sample_rate_hz, clip_samples
        self._hop_samples = max(1, round(options.hop_seconds * sample_rate_hz))
        self._resampler = (
            None
            if options.sample_rate_hz == sample_rate_hz
            else soxr.ResampleStream(options.sample_rate_hz, sample_rate_hz, 1, dtype="float32")
        )
        # The stream begins with a clip of silence, so that its first word can lie in the middle.
        self._sound = np.zeros(clip_samples, np.float32)
        self._first = -clip_samples  # the sample of the stream that ``_sound`` begins with
        self._next_end = self._hop_samples
        blocks = round(BACKGROUND_SECONDS / BLOCK_SECONDS)
        self._block_samples = round(BLOCK_SECONDS * sample_rate_hz)
        self._powers: deque[float] = deque(maxlen=blocks)
        self._weighed = 0

    def feed(self, samples: Waveform) -> Iterator[Hop]:
        """The windows that end within these samples (n,) float32."""
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples)
        self._sound = np.concatenate([self._sound, samples])
        while self._next_end <= self._first + len(self._sound):
            yield self._hop(self._next_end)
            self._next_end += self._hop_samples
        kept = max(0, self._next_end - self._clip_samples - self._first)
        self._sound = self._sound[kept:]
        self._first += kept

    def _hop(self, end: int) -> Hop:
        begin = end - self._clip_samples
        window = self._sound[begin - self._first : end - self._first]
        self._listen_to_background(end)
        powers = _block_powers(window, self._block_samples)
        floor = max(SILENCE_POWER, ABOVE_BACKGROUND * self._background())
        above = np.where(powers > floor, powers, 0)
        start_seconds, end_seconds = begin / self._rate_hz, end / self._rate_hz
        if not above.any():
            return Hop(window, start_seconds, end_seconds, None, start_seconds, end_seconds)
        first, last = _nearest_word(np.flatnonzero(above), len(powers) / 2)
        # By amplitude rather than power: a loud vowel is not the whole word.
        weights = np.sqrt(above[first : last + 1])
        places = (np.arange(first, last + 1) + 0.5) / len(powers) - 0.5
        return Hop(
            self._only(window, first, last), start_seconds, end_seconds,
            float((weights * places).sum() / weights.sum()),
            float(start_seconds + first * BLOCK_SECONDS),
            float(min(end_seconds, start_seconds + (last + 1) * BLOCK_SECONDS)),
        )  # fmt: skip

    def _only(self, window: Waveform, first: int, last: int) -> Waveform:
        """The window (samples,) with silence around the word in these blocks."""
        begin = max(0, (first - MARGIN_BLOCKS) * self._block_samples)
        end = (last + 1 + MARGIN_BLOCKS) * self._block_samples
        kept = np.zeros_like(window)
        kept[begin:end] = window[begin:end]
        return kept

    def _listen_to_background(self, end: int) -> None:
        """Weigh the blocks of the stream (not the silence before it) up to a sample."""
        while self._weighed + self._block_samples <= end:
            at = self._weighed - self._first
            block = self._sound[max(0, at) : at + self._block_samples]
            self._powers.append(float(np.mean(block * block)) if len(block) else 0.0)
            self._weighed += self._block_samples

    def _background(self) -> float:
        """The power that a fifth of the last seconds stays below."""
        return float(np.quantile(np.array(self._powers), 0.2)) if self._powers else 0.0


class Words:
    """Results of windows to events."""

    def __init__(self, options: StreamOptions) -> None:
        self._options = options
        self._whole: deque[NDArray[np.float32]] = deque(maxlen=options.smoothing_hops)
        self._before: float | None = None
        self._last_start = -np.inf

    @property
    def min_score(self) -> float:
        return self._options.min_score

    def hear(self, hop: Hop, scores: NDArray[np.float32] | None) -> Event | None:
        """The word that passes the middle of this window, given its scores (labels,) if any."""
        centre, before = hop.centre, self._before
        self._before = centre
        if centre is None or scores is None or abs(centre) > WHOLE_SHARE:
            if centre is None:
                self._whole.clear()
            return None
        if before is None or before - centre < 0:
            self._whole.clear()
        self._whole.append(scores)
        passes = before is not None and before > 0 >= centre
        if not passes or hop.word_start_seconds < self._last_start + self._options.min_gap_seconds:
            return None
        averaged: NDArray[np.float32] = np.stack(self._whole).mean(axis=0, dtype=np.float32)
        if averaged.max() < self._options.min_score:
            return None
        self._last_start = hop.word_start_seconds
        return Event(hop.word_start_seconds, hop.word_end_seconds, averaged)


def _block_powers(window: Waveform, block_samples: int) -> NDArray[np.float64]:
    blocks = len(window) // block_samples
    samples = window[: blocks * block_samples].astype(np.float64)
    powers: NDArray[np.float64] = np.square(samples).reshape(blocks, -1).mean(axis=1)
    return powers


def _nearest_word(loud: NDArray[np.intp], middle: float) -> tuple[int, int]:
    """First and last block of the word nearest to the middle, of the blocks that are loud."""
    breaks = np.flatnonzero(np.diff(loud) > PAUSE_BLOCKS) + 1
    words = np.split(loud, breaks)
    distances = [max(word[0] - middle, middle - word[-1], 0.0) for word in words]
    nearest = words[int(np.argmin(distances))]
    return int(nearest[0]), int(nearest[-1])
