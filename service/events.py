"""Words in a stream of sound: windows that move on by a hop, and one event for each word.

What stands out of the background is a word, up to the next pause. It is clearest in the middle of a
window, with nothing beside it, which is how the model has learnt words: so of each window only the
word nearest to its middle is kept, and when the centre of its energy passes the middle, the word is
heard, once. Its scores are averaged over the last hops in which it lay whole in the window; a gap
keeps what follows too soon from being another word.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import soxr
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform
from earful.models.bundle.decision import DECISION_THRESHOLD
from earful.service.classifier import MAX_BATCH, Classifier

# Blocks of sound whose energy is weighed, and how far back the background is looked for.
BLOCK_SECONDS = 0.02
NOISE_FLOOR_SECONDS = 5.0
# Quieter than this is silence, however quiet the rest is: -55 dB re full scale, as a power.
SILENCE_POWER = 10 ** (-55 / 10)
# What is less than 6 dB above the background is background.
NOISE_FLOOR_RATIO = 4.0
# A pause of so many blocks ends a word; the closures inside "six" and "eight" are shorter.
PAUSE_BLOCKS = 7
# So many blocks around a word belong to it: its soft beginning and end.
MARGIN_BLOCKS = 3
# Within this share of the window around its middle a word lies whole in it.
CENTRED_FRACTION = 0.15


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
class StreamWindow:
    """A window (samples,) at the model's rate, its times in the stream, and its word.

    ``waveform`` is silent where other words are. ``centre`` is where the energy of the word lies,
    from -0.5 (start) to 0.5 (end); None when it is quiet.
    """

    waveform: Waveform
    start_seconds: float
    end_seconds: float
    event_offset: float | None
    event_start_seconds: float
    event_end_seconds: float


@dataclass(frozen=True)
class StreamEvent:
    """A word: when it was heard, and the averaged scores (labels,)."""

    start_seconds: float
    end_seconds: float
    scores: NDArray[np.float32]


class StreamWindower:
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
        self._buffer = np.zeros(clip_samples, np.float32)
        self._buffer_start = -clip_samples  # the sample of the stream that ``_sound`` begins with
        self._next_end = self._hop_samples
        blocks = round(NOISE_FLOOR_SECONDS / BLOCK_SECONDS)
        self._block_samples = round(BLOCK_SECONDS * sample_rate_hz)
        self._powers: deque[float] = deque(maxlen=blocks)
        self._measured_samples = 0

    def feed(self, samples: Waveform) -> Iterator[StreamWindow]:
        """The windows that end within these samples (n,) float32."""
        if self._resampler is not None:
            samples = self._resampler.resample_chunk(samples)
        self._buffer = np.concatenate([self._buffer, samples])
        while self._next_end <= self._buffer_start + len(self._buffer):
            yield self._window_ending_at(self._next_end)
            self._next_end += self._hop_samples
        n_consumed = max(0, self._next_end - self._clip_samples - self._buffer_start)
        self._buffer = self._buffer[n_consumed:]
        self._buffer_start += n_consumed

    def _window_ending_at(self, end: int) -> StreamWindow:
        begin = end - self._clip_samples
        window = self._buffer[begin - self._buffer_start : end - self._buffer_start]
        self._update_noise_floor(end)
        powers = _block_powers(window, self._block_samples)
        power_threshold = max(SILENCE_POWER, NOISE_FLOOR_RATIO * self._noise_floor())
        loud_powers = np.where(powers > power_threshold, powers, 0)
        start_seconds, end_seconds = begin / self._rate_hz, end / self._rate_hz
        if not loud_powers.any():
            return StreamWindow(
                window, start_seconds, end_seconds, None, start_seconds, end_seconds
            )
        first, last = _nearest_event(np.flatnonzero(loud_powers), len(powers) / 2)
        # By amplitude rather than power: a loud vowel is not the whole word.
        weights = np.sqrt(loud_powers[first : last + 1])
        offsets = (np.arange(first, last + 1) + 0.5) / len(powers) - 0.5
        return StreamWindow(
            self._isolate(window, first, last), start_seconds, end_seconds,
            float((weights * offsets).sum() / weights.sum()),
            float(start_seconds + first * BLOCK_SECONDS),
            float(min(end_seconds, start_seconds + (last + 1) * BLOCK_SECONDS)),
        )  # fmt: skip

    def _isolate(self, window: Waveform, first: int, last: int) -> Waveform:
        """The window (samples,) with silence around the word in these blocks."""
        begin = max(0, (first - MARGIN_BLOCKS) * self._block_samples)
        end = (last + 1 + MARGIN_BLOCKS) * self._block_samples
        isolated = np.zeros_like(window)
        isolated[begin:end] = window[begin:end]
        return isolated

    def _update_noise_floor(self, end: int) -> None:
        """Weigh the blocks of the stream (not the silence before it) up to a sample."""
        while self._measured_samples + self._block_samples <= end:
            at = self._measured_samples - self._buffer_start
            block = self._buffer[max(0, at) : at + self._block_samples]
            self._powers.append(float(np.mean(block * block)) if len(block) else 0.0)
            self._measured_samples += self._block_samples

    def _noise_floor(self) -> float:
        """The power that a fifth of the last seconds stays below."""
        return float(np.quantile(np.array(self._powers), 0.2)) if self._powers else 0.0


class EventDetector:
    """Results of windows to events."""

    def __init__(self, options: StreamOptions) -> None:
        self._options = options
        self._recent_scores: deque[NDArray[np.float32]] = deque(maxlen=options.smoothing_hops)
        self._previous_offset: float | None = None
        self._last_start = -np.inf

    @property
    def min_score(self) -> float:
        return self._options.min_score

    def update(
        self, window: StreamWindow, scores: NDArray[np.float32] | None
    ) -> StreamEvent | None:
        """The word that passes the middle of this window, given its scores (labels,) if any."""
        event_offset, previous_offset = window.event_offset, self._previous_offset
        self._previous_offset = event_offset
        if event_offset is None or scores is None or abs(event_offset) > CENTRED_FRACTION:
            if event_offset is None:
                self._recent_scores.clear()
            return None
        if previous_offset is None or previous_offset - event_offset < 0:
            self._recent_scores.clear()
        self._recent_scores.append(scores)
        passes = previous_offset is not None and previous_offset > 0 >= event_offset
        if (
            not passes
            or window.event_start_seconds < self._last_start + self._options.min_gap_seconds
        ):
            return None
        averaged: NDArray[np.float32] = np.stack(self._recent_scores).mean(axis=0, dtype=np.float32)
        if averaged.max() < self._options.min_score:
            return None
        self._last_start = window.event_start_seconds
        return StreamEvent(window.event_start_seconds, window.event_end_seconds, averaged)


@dataclass(frozen=True)
class Event:
    """A sound of one label: seconds from the beginning of the recording, and its score."""

    start: float
    end: float
    label: str
    score: float


def detect_events(
    classifier: Classifier, blocks: Iterable[Waveform], *, min_score: float = 0.5
) -> Iterator[Event]:
    """Events of a recording that comes in pieces (samples,) at the model's rate, in order of time."""
    rate_hz, clip_samples = classifier.sample_rate_hz, classifier.clip_samples
    options = StreamOptions(rate_hz, min_score=min_score)
    windower, detector = StreamWindower(options, rate_hz, clip_samples), EventDetector(options)
    # The last event has yet to pass the middle of a window.
    silence = np.zeros(clip_samples, np.float32)
    pending: list[StreamWindow] = []
    for block in itertools.chain(blocks, [silence]):
        for window in windower.feed(block):
            pending.append(window)
            if len(pending) == MAX_BATCH:
                yield from _classify_windows(classifier, detector, pending)
                pending = []
    yield from _classify_windows(classifier, detector, pending)


def _classify_windows(
    classifier: Classifier, detector: EventDetector, windows: list[StreamWindow]
) -> Iterator[Event]:
    """Scores of the windows that hold a sound, in one batch; then what they say, in order."""
    loud = [(window.waveform, 0) for window in windows if window.event_offset is not None]
    scores = iter(classifier.run_windows(loud) if loud else ())
    for window in windows:
        event = detector.update(window, None if window.event_offset is None else next(scores))
        if event is not None:
            label, score = classifier.decide(
                event.scores, max(DECISION_THRESHOLD, detector.min_score)
            )
            yield Event(
                round(max(0.0, event.start_seconds), 3), round(event.end_seconds, 3), label, score
            )


def _block_powers(window: Waveform, block_samples: int) -> NDArray[np.float64]:
    blocks = len(window) // block_samples
    samples = window[: blocks * block_samples].astype(np.float64)
    powers: NDArray[np.float64] = np.square(samples).reshape(blocks, -1).mean(axis=1)
    return powers


def _nearest_event(loud: NDArray[np.intp], middle: float) -> tuple[int, int]:
    """First and last block of the word nearest to the middle, of the blocks that are loud."""
    breaks = np.flatnonzero(np.diff(loud) > PAUSE_BLOCKS) + 1
    events = np.split(loud, breaks)
    distances = [max(event[0] - middle, middle - event[-1], 0.0) for event in events]
    nearest_event = events[int(np.argmin(distances))]
    return int(nearest_event[0]), int(nearest_event[-1])
