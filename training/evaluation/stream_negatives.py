"""Runs negatives through the event detector, in memory that does not grow with their length.

A recording longer than ten seconds is a stream of its own. Shorter clips follow each other in one
stream, with pauses: the rate per hour is that of a stream, and a lone clip has no context.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import AudioError, Waveform
from earful.data.audio.sounds import SILENCE_POWER
from earful.data.audio.stream_reader import read_blocks, segment_blocks
from earful.data.dataset.reader import read_clips
from earful.data.labels.clip import Clip, ClipProblem
from earful.models.bundle.event_options import EventOptions
from earful.service.batch.inputs import Input
from earful.service.classifier import Classifier
from earful.service.events import detect_events
from earful.training.evaluation.false_accepts import FalseAcceptError, SoundScores

MAX_CLIP_SECONDS = 10.0
PAUSE_SECONDS = (0.3, 1.0)
SEED = 42


@dataclass(frozen=True)
class StreamedNegatives:
    """The sounds of all negatives.

    sounds         by recording; the clips are one recording
    seconds        length of all recordings, with the pauses between clips
    pause_seconds  length of the pauses
    n_recordings   recordings that are streams of their own
    clip_scores    best score (clips,) of each clip, classified alone
    failed         files that cannot be read
    """

    sounds: tuple[SoundScores, ...]
    seconds: float
    pause_seconds: float
    n_recordings: int
    clip_scores: NDArray[np.float32]
    failed: tuple[ClipProblem, ...]


def stream_negatives(
    classifier: Classifier,
    sources: Sequence[Input],
    *,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> StreamedNegatives:
    """Run all sources through the event detector; unreadable ones are in ``failed``.

    Raises:
        FalseAcceptError: none can be read, or all are silent.
        InferenceError: the model fails.
    """
    failed: list[ClipProblem] = []
    long_sources: list[Input] = []
    steps = iter(range(1, len(sources) + 1))

    def fail(source: Input, error: AudioError) -> None:
        failed.append(ClipProblem(0, source.location, error.code, str(error)))

    def clips() -> Iterator[Waveform]:
        for source, audio in _read_clips(sources, classifier.sample_rate_hz):
            if audio is None:
                long_sources.append(source)
                continue
            progress(next(steps), len(sources))
            if isinstance(audio, AudioError):
                fail(source, audio)
            else:
                yield audio

    joined = _JoinedClips(classifier)
    streams = [_find_sounds(classifier, joined.blocks(clips()))]
    for source in long_sources:
        try:
            blocks = _long_blocks(source, classifier.sample_rate_hz)
            streams.append(_find_sounds(classifier, blocks))
        except AudioError as error:
            fail(source, error)
        progress(next(steps), len(sources))
    _check_streams(streams, failed)
    return StreamedNegatives(
        sounds=tuple(stream.sounds for stream in streams),
        seconds=sum(stream.n_samples for stream in streams) / classifier.sample_rate_hz,
        pause_seconds=joined.pause_samples / classifier.sample_rate_hz,
        n_recordings=len(streams) - 1,
        clip_scores=np.array(joined.top_scores, np.float32),
        failed=tuple(failed),
    )


@dataclass(frozen=True)
class _Stream:
    """One stream: its sounds, its length in samples, and its highest magnitude."""

    sounds: SoundScores
    n_samples: int
    peak: float


def _find_sounds(classifier: Classifier, blocks: Iterable[Waveform]) -> _Stream:
    """All sounds of a stream, also those that score too low, or follow too soon, for an event."""
    n_samples, peak = 0, 0.0

    def counted() -> Iterator[Waveform]:
        nonlocal n_samples, peak
        for block in blocks:
            n_samples += len(block)
            peak = max(peak, float(np.abs(block).max()))
            yield block

    options = EventOptions(min_score=0.0, min_gap_seconds=-math.inf)
    events = [
        (event.start, event.scores.max(), event.scores.argmax())
        for event in detect_events(classifier, counted(), options)
    ]
    starts, scores, labels = zip(*events, strict=True) if events else ((), (), ())
    sounds = SoundScores(
        np.array(starts, np.float64), np.array(scores, np.float32), np.array(labels, np.int64)
    )
    return _Stream(sounds, n_samples, peak)


class _JoinedClips:
    """Clips one after another with pauses; each is classified alone as well."""

    def __init__(self, classifier: Classifier) -> None:
        self._classifier = classifier
        self._generator = np.random.default_rng(SEED)
        self.top_scores: list[float] = []
        self.pause_samples = 0

    def blocks(self, clips: Iterator[Waveform]) -> Iterator[Waveform]:
        items = ((clip, clip) for clip in clips)
        for clip, prediction in self._classifier.classify_items(items):
            self.top_scores.append(prediction.top_score)
            seconds = self._generator.uniform(*PAUSE_SECONDS)
            pause = np.zeros(round(seconds * self._classifier.sample_rate_hz), np.float32)
            self.pause_samples += len(pause)
            yield pause
            yield clip


def _read_clips(
    sources: Sequence[Input], rate_hz: int
) -> Iterator[tuple[Input, Waveform | AudioError | None]]:
    """Each source with its samples, its error, or None if it is longer than a clip."""
    segments: list[Input] = []
    for source in sources:
        if source.problem:
            code, _, message = source.problem.partition(": ")
            yield source, AudioError(code, message)
        elif source.start_seconds is None or source.end_seconds is None:
            yield source, _read_short(Path(source.location), rate_hz)
        elif source.end_seconds - source.start_seconds > MAX_CLIP_SECONDS:
            yield source, None
        else:
            segments.append(source)
    # Consecutive segments of one file decode it once.
    clips = [
        Clip(
            0,
            s.location,
            Path(s.location),
            "",
            start_seconds=s.start_seconds,
            end_seconds=s.end_seconds,
            end_tolerance_seconds=s.end_tolerance_seconds,
        )
        for s in segments
    ]
    for source, (_, audio) in zip(segments, read_clips(clips, rate_hz), strict=True):
        if not isinstance(audio, AudioError):
            yield source, audio.waveform
        elif audio.code in ("too_long", "too_large"):
            yield source, _read_all(_long_blocks(source, rate_hz))
        else:
            yield source, audio


def _read_short(path: Path, rate_hz: int) -> Waveform | AudioError | None:
    """The samples of a file, or None as soon as they are more than a clip."""
    return _read_all(read_blocks(path, rate_hz), round(MAX_CLIP_SECONDS * rate_hz))


def _read_all(
    blocks: Iterator[Waveform], max_samples: float = math.inf
) -> Waveform | AudioError | None:
    parts, n_samples = [], 0
    try:
        for block in blocks:
            parts.append(block)
            n_samples += len(block)
            if n_samples > max_samples:
                return None
    except AudioError as error:
        return error
    return np.concatenate(parts)


def _long_blocks(source: Input, rate_hz: int) -> Iterator[Waveform]:
    blocks = read_blocks(Path(source.location), rate_hz)
    if source.start_seconds is None or source.end_seconds is None:
        return blocks
    times = (source.start_seconds, source.end_seconds, source.end_tolerance_seconds)
    return segment_blocks(blocks, rate_hz, *times)


def _check_streams(streams: Sequence[_Stream], failed: Sequence[ClipProblem]) -> None:
    """Refuse negatives that nothing could come of.

    Raises:
        FalseAcceptError: none could be read, or all are silent.
    """
    if not any(stream.n_samples for stream in streams):
        raise FalseAcceptError(
            f"none of {len(failed)} negatives can be read; the first: {failed[0]}"
        )
    # A block is no sound unless its mean power is higher than this.
    if max(stream.peak for stream in streams) ** 2 <= SILENCE_POWER:
        raise FalseAcceptError(
            "the negatives are silent throughout, and silence is never accepted; give recordings "
            "of other sound: speech without the labels, noise, music"
        )
