"""Detects sound events in a stream: a window every hop, and one event for each sound.

A sound is what rises above the noise floor, up to the next pause. Models are trained on single
sounds in the middle of a clip, so each window keeps only the sound nearest to its middle and is
silent elsewhere. A sound becomes an event when the centre of its energy passes the middle of a
window. The scores of an event are averaged over the last windows in which the sound is centred; a
minimum gap suppresses events that follow too soon.
"""

import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import soxr
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform
from earful.data.labels.multilabel import SEPARATOR
from earful.models.bundle.decision import DECISION_THRESHOLD
from earful.models.bundle.metadata import ModelMetadata
from earful.service.classifier import MAX_BATCH, Classifier

# Length of the blocks whose power is measured, and how far back the noise floor is estimated.
BLOCK_SECONDS = 0.02
NOISE_FLOOR_SECONDS = 5.0
# Power of -55 dB re full scale: quieter blocks are silence, whatever the noise floor.
SILENCE_POWER = 10 ** (-55 / 10)
# Blocks less than 6 dB (as a power ratio) above the noise floor are background.
NOISE_FLOOR_RATIO = 4.0
# A pause of this many blocks ends a sound; the closures inside "six" and "eight" are shorter.
PAUSE_BLOCKS = 7
# Blocks on either side that belong to a sound: its soft beginning and end.
MARGIN_BLOCKS = 3
# A sound is centred if its offset from the middle is at most this fraction of the window.
CENTRED_FRACTION = 0.15
# Labels that mean that nothing happens; what has one of them is no event.
BACKGROUND_LABELS = ("silence", "noise", "background", "_background_noise_")
# Scores (windows, labels) of windows, each a waveform and its first sample.
ScoreWindows = Callable[[Sequence[tuple[Waveform, int]]], NDArray[np.float32]]


@dataclass(frozen=True)
class StreamOptions:
    """Options of event detection in a stream.

    sample_rate_hz   rate of the incoming audio
    min_score        lowest averaged score of an event (``default_min_score``: the model's own)
    hop_seconds      distance between windows
    min_gap_seconds  shortest distance between the starts of two events
    smoothing_hops   number of windows over which scores are averaged
    """

    sample_rate_hz: int
    min_score: float
    hop_seconds: float = 0.1
    min_gap_seconds: float = 0.3
    smoothing_hops: int = 3


@dataclass(frozen=True)
class StreamWindow:
    """A window (samples,) at the model's rate, with the sound nearest to its middle.

    Times are in seconds of the stream. ``waveform`` is silent outside the sound. ``event_offset``
    is the centre of the sound's energy, from -0.5 (start of the window) to 0.5 (end); None if the
    window is quiet.
    """

    waveform: Waveform
    start_seconds: float
    end_seconds: float
    event_offset: float | None
    event_start_seconds: float
    event_end_seconds: float


@dataclass(frozen=True)
class StreamEvent:
    """A detected sound: its times in the stream, and its averaged scores (labels,)."""

    start_seconds: float
    end_seconds: float
    scores: NDArray[np.float32]


class StreamWindower:
    """Cuts audio that comes in chunks of any size into windows of ``clip_samples``, a hop apart."""

    def __init__(self, options: StreamOptions, sample_rate_hz: int, clip_samples: int) -> None:
        self._rate_hz, self._clip_samples = sample_rate_hz, clip_samples
        self._hop_samples = max(1, round(options.hop_seconds * sample_rate_hz))
        self._resampler = (
            None
            if options.sample_rate_hz == sample_rate_hz
            else soxr.ResampleStream(options.sample_rate_hz, sample_rate_hz, 1, dtype="float32")
        )
        # The stream starts with a clip of silence, so that its first sound can be centred too.
        self._buffer = np.zeros(clip_samples, np.float32)
        self._buffer_start = -clip_samples  # position of the buffer in the stream
        self._next_end = self._hop_samples
        blocks = round(NOISE_FLOOR_SECONDS / BLOCK_SECONDS)
        self._block_samples = round(BLOCK_SECONDS * sample_rate_hz)
        self._powers: deque[float] = deque(maxlen=blocks)
        self._measured_samples = 0

    def feed(self, samples: Waveform) -> Iterator[StreamWindow]:
        """The windows that end within these samples (n,) float32 of the stream's rate."""
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
                waveform=window,
                start_seconds=start_seconds,
                end_seconds=end_seconds,
                event_offset=None,
                event_start_seconds=start_seconds,
                event_end_seconds=end_seconds,
            )
        first, last = _nearest_event(np.flatnonzero(loud_powers), len(powers) / 2)
        # Weighted by amplitude, not power, so that a loud vowel does not count as the whole word.
        weights = np.sqrt(loud_powers[first : last + 1])
        offsets = (np.arange(first, last + 1) + 0.5) / len(powers) - 0.5
        event_end_seconds = start_seconds + (last + 1) * BLOCK_SECONDS
        return StreamWindow(
            waveform=self._isolate(window, first, last),
            start_seconds=start_seconds,
            end_seconds=end_seconds,
            event_offset=float((weights * offsets).sum() / weights.sum()),
            event_start_seconds=float(start_seconds + first * BLOCK_SECONDS),
            event_end_seconds=float(min(end_seconds, event_end_seconds)),
        )

    def _isolate(self, window: Waveform, first: int, last: int) -> Waveform:
        """The window (samples,), silent outside the sound from block ``first`` to ``last``."""
        begin = max(0, (first - MARGIN_BLOCKS) * self._block_samples)
        end = (last + 1 + MARGIN_BLOCKS) * self._block_samples
        isolated = np.zeros_like(window)
        isolated[begin:end] = window[begin:end]
        return isolated

    def _update_noise_floor(self, end: int) -> None:
        """Measure the blocks of the stream up to sample ``end``, without the silence before it."""
        while self._measured_samples + self._block_samples <= end:
            at = self._measured_samples - self._buffer_start
            block = self._buffer[max(0, at) : at + self._block_samples]
            self._powers.append(float(np.mean(block * block)) if len(block) else 0.0)
            self._measured_samples += self._block_samples

    def _noise_floor(self) -> float:
        """The 20 % quantile of the block powers of the last seconds."""
        return float(np.quantile(np.array(self._powers), 0.2)) if self._powers else 0.0


class EventDetector:
    """Turns the scores of windows into events."""

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
        """The event of the sound that passes the middle of this window, or None.

        ``scores`` (labels,) are those of the window, None if it is quiet.
        """
        event_offset, previous_offset = window.event_offset, self._previous_offset
        self._previous_offset = event_offset
        # Sounds move towards the start of the window: one that is further from it is another one.
        if event_offset is None or previous_offset is None or event_offset > previous_offset:
            self._recent_scores.clear()
        if event_offset is None or scores is None or abs(event_offset) > CENTRED_FRACTION:
            return None
        self._recent_scores.append(scores)
        passes_middle = previous_offset is not None and previous_offset > 0 >= event_offset
        earliest_start = self._last_start + self._options.min_gap_seconds
        if not passes_middle or window.event_start_seconds < earliest_start:
            return None
        averaged: NDArray[np.float32] = np.stack(self._recent_scores).mean(axis=0, dtype=np.float32)
        if averaged.max() < self._options.min_score:
            return None
        self._last_start = window.event_start_seconds
        return StreamEvent(window.event_start_seconds, window.event_end_seconds, averaged)


@dataclass(frozen=True)
class Event:
    """A detected sound: start and end in seconds of the recording, label, and score (0 to 1).

    ``scores`` (labels,) are those of all labels, in the model's order.
    """

    start: float
    end: float
    label: str
    score: float
    scores: NDArray[np.float32] = field(repr=False, compare=False)


def default_min_score(metadata: ModelMetadata) -> float:
    """The lowest score of an event: the model's rejection threshold.

    A multi-label model predicts labels that are likelier than not, so also at least that.
    """
    if metadata.score_kind == "sigmoid":
        return max(DECISION_THRESHOLD, metadata.rejection_threshold)
    return metadata.rejection_threshold


def detect_events(
    classifier: Classifier,
    blocks: Iterable[Waveform],
    *,
    min_score: float | None = None,
    background: Collection[str] = BACKGROUND_LABELS,
    score_windows: ScoreWindows | None = None,
) -> Iterator[Event]:
    """Events of a recording given in blocks (samples,) at the model's rate, in order of time.

    Without ``min_score`` they score at least the model's rejection threshold. Sounds with a label
    of ``background`` (compared without case) are no events. ``score_windows`` scores the windows,
    by default ``classifier.run_windows``.
    """
    if min_score is None:
        min_score = default_min_score(classifier.metadata)
    decision_threshold = max(DECISION_THRESHOLD, min_score)
    options = StreamOptions(classifier.sample_rate_hz, min_score)
    ignored = {name.casefold() for name in background}
    n_samples = 0

    def counted() -> Iterator[Waveform]:
        nonlocal n_samples
        for block in blocks:
            n_samples += len(block)
            yield block

    for event in stream_events(classifier, counted(), options, score_windows):
        predicted = classifier.predicted_labels(event.scores, decision_threshold)
        kept = [(label, score) for label, score in predicted if label.casefold() not in ignored]
        if not kept:
            continue
        labels, scores = zip(*kept, strict=True)
        yield Event(
            start=round(max(0.0, event.start_seconds), 3),
            # The last block of a sound may reach beyond the end of the recording.
            end=round(min(event.end_seconds, n_samples / classifier.sample_rate_hz), 3),
            label=SEPARATOR.join(labels),
            score=min(scores),
            scores=event.scores,
        )


def stream_events(
    classifier: Classifier,
    blocks: Iterable[Waveform],
    options: StreamOptions,
    score_windows: ScoreWindows | None = None,
) -> Iterator[StreamEvent]:
    """Events of a recording given in blocks (samples,) at the model's rate, with all scores."""
    rate_hz, clip_samples = classifier.sample_rate_hz, classifier.clip_samples
    score_windows = score_windows or classifier.run_windows
    windower, detector = StreamWindower(options, rate_hz, clip_samples), EventDetector(options)
    # Lets the last sound pass the middle of a window.
    silence = np.zeros(clip_samples, np.float32)
    pending: list[StreamWindow] = []
    for block in itertools.chain(blocks, [silence]):
        for window in windower.feed(block):
            pending.append(window)
            if len(pending) == MAX_BATCH:
                yield from _classify_windows(score_windows, detector, pending)
                pending = []
    yield from _classify_windows(score_windows, detector, pending)


def _classify_windows(
    score_windows: ScoreWindows, detector: EventDetector, windows: list[StreamWindow]
) -> Iterator[StreamEvent]:
    """Classify the windows that hold a sound in one batch, then yield their events in order."""
    loud = [(window.waveform, 0) for window in windows if window.event_offset is not None]
    scores = iter(score_windows(loud) if loud else ())
    for window in windows:
        event = detector.update(window, None if window.event_offset is None else next(scores))
        if event is not None:
            yield event


def _block_powers(window: Waveform, block_samples: int) -> NDArray[np.float64]:
    blocks = len(window) // block_samples
    samples = window[: blocks * block_samples].astype(np.float64)
    powers: NDArray[np.float64] = np.square(samples).reshape(blocks, -1).mean(axis=1)
    return powers


def _nearest_event(loud: NDArray[np.intp], middle: float) -> tuple[int, int]:
    """First and last block of the sound nearest to ``middle``; ``loud`` lists the loud blocks."""
    breaks = np.flatnonzero(np.diff(loud) > PAUSE_BLOCKS) + 1
    events = np.split(loud, breaks)
    distances = [max(event[0] - middle, middle - event[-1], 0.0) for event in events]
    nearest_event = events[int(np.argmin(distances))]
    return int(nearest_event[0]), int(nearest_event[-1])
