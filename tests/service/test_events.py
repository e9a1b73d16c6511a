"""Sounds in a stream: one event each, at its time, for any size of chunks."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earful.data.audio.decode import Waveform, resample
from earful.models.registry.shipped import SHIPPED_MODEL
from earful.service.classifier import Classifier
from earful.service.events import (
    EventDetector,
    StreamEvent,
    StreamOptions,
    StreamWindow,
    StreamWindower,
)
from tests.fixtures.synthetic_audio import RATE_HZ, noise, overlay_at, tone

SOUNDS = [("low", 0.5), ("high", 1.6), ("mid", 2.9), ("high", 4.0)]
OPTIONS = StreamOptions(sample_rate_hz=RATE_HZ, min_score=0.5)


def sentence(level: float = 1e-4) -> Waveform:
    whole = noise(5.5, level)
    for label, start in SOUNDS:
        whole = overlay_at(tone(label), start, whole)
    return whole


def detect_events(
    classifier: Classifier,
    sound: Waveform,
    options: StreamOptions = OPTIONS,
    chunk_samples: int = 800,
) -> tuple[list[StreamWindow], list[StreamEvent]]:
    """All windows and events of a sound that arrives in chunks of ``chunk_samples``."""
    features = classifier.metadata.features
    windows = StreamWindower(options, features.sample_rate_hz, features.clip_samples)
    detector = EventDetector(options)
    stream_windows, events = [], []
    tail = np.zeros(round(options.sample_rate_hz * features.clip_seconds), np.float32)
    for start in range(0, len(sound) + len(tail), chunk_samples):
        for window in windows.feed(np.concatenate([sound, tail])[start : start + chunk_samples]):
            stream_windows.append(window)
            scores = None
            if window.event_offset is not None:
                scores = classifier.classify([window.waveform])[0].best.scores
            event = detector.update(window, scores)
            events += [event] if event else []
    return stream_windows, events


def labels(classifier: Classifier, events: Sequence[StreamEvent]) -> list[str]:
    return [classifier.labels[int(event.scores.argmax())] for event in events]


@pytest.mark.parametrize("chunk_samples", [37, 800, 100_000])
def test_each_sound_is_one_event_at_its_time(classifier: Classifier, chunk_samples: int) -> None:
    stream_windows, events = detect_events(classifier, sentence(), chunk_samples=chunk_samples)
    assert labels(classifier, events) == [label for label, _ in SOUNDS]
    for event, (_, start) in zip(events, SOUNDS, strict=True):
        assert event.start_seconds == pytest.approx(start, abs=0.05)
        assert event.end_seconds == pytest.approx(start + 0.4, abs=0.05)
    ends = [window.end_seconds for window in stream_windows]
    np.testing.assert_allclose(np.diff(ends), 0.1, atol=1e-6)
    assert ends[0] == pytest.approx(0.1)


def test_window_holds_the_samples_of_its_times(classifier: Classifier) -> None:
    sound = sentence()
    stream_windows, _ = detect_events(classifier, sound, chunk_samples=123)
    for window in stream_windows[10:50]:
        first = round(window.start_seconds * RATE_HZ)
        original = sound[first : first + len(window.waveform)]
        kept = window.waveform != 0
        np.testing.assert_array_equal(window.waveform[kept], original[kept])
        if window.event_offset is not None:
            assert kept.any()


def test_of_two_sounds_in_a_window_the_more_central_is_kept(classifier: Classifier) -> None:
    sound = overlay_at(tone("high", 0.3), 1.0, overlay_at(tone("low", 0.3), 0.5, noise(2.0, 1e-4)))
    _, events = detect_events(classifier, sound)
    assert labels(classifier, events) == ["low", "high"]
    assert min(event.scores.max() for event in events) > 0.9


def test_scores_of_one_sound_do_not_count_for_the_next(classifier: Classifier) -> None:
    for gap_seconds in (0.5, 0.7, 0.9):
        low = overlay_at(tone("low"), 0.5, noise(3.0, 1e-4))
        _, events = detect_events(classifier, overlay_at(tone("high"), 0.9 + gap_seconds, low))
        assert labels(classifier, events) == ["low", "high"]
        low_score = float(events[1].scores[classifier.labels.index("low")])
        assert low_score < 0.05


def test_other_rates_are_resampled(classifier: Classifier) -> None:
    sound = resample(sentence(), RATE_HZ, 44_100)
    options = StreamOptions(sample_rate_hz=44_100, min_score=0.5)
    _, events = detect_events(classifier, sound, options, chunk_samples=1_764)
    assert labels(classifier, events) == [label for label, _ in SOUNDS]


def test_background_and_silence_give_no_events(classifier: Classifier) -> None:
    for sound in (np.zeros(3 * RATE_HZ, np.float32), noise(4, 0.02)):
        _, events = detect_events(classifier, sound)
        assert events == []


def test_sounds_above_background_noise_are_detected(classifier: Classifier) -> None:
    _, events = detect_events(classifier, sentence(level=0.01))
    assert labels(classifier, events) == [label for label, _ in SOUNDS]


def test_minimum_gap_and_score_suppress_events(classifier: Classifier) -> None:
    options = StreamOptions(sample_rate_hz=RATE_HZ, min_score=0.5, min_gap_seconds=2.0)
    _, events = detect_events(classifier, sentence(), options)
    assert labels(classifier, events) == ["low", "mid"]
    options = StreamOptions(sample_rate_hz=RATE_HZ, min_score=1.1)
    assert detect_events(classifier, sentence(), options)[1] == []


def test_real_digits_in_a_row_are_one_event_each(fsdd: Path) -> None:
    """A word with uneven energy may be missed; none may give two events."""
    classifier = Classifier.open(SHIPPED_MODEL)
    parts, starts, at = [], [], 0
    for n, digit in enumerate("31746520819427065831"):
        speaker = ("jackson", "theo", "nicolas", "yweweler")[n % 4]
        word, _ = soundfile.read(fsdd / "recordings" / f"{digit}_{speaker}_{n % 5}.wav")
        parts += [np.zeros(3_000), word]
        starts.append((digit, (at + 3_000) / RATE_HZ))
        at += 3_000 + len(word)
    _, events = detect_events(classifier, np.concatenate(parts).astype(np.float32))
    detected = list(zip(labels(classifier, events), [e.start_seconds for e in events], strict=True))
    correct = 0
    for digit, start in starts:
        near = [label for label, time in detected if abs(time - start) < 0.25]
        assert len(near) <= 1
        correct += near == [digit]
    assert correct >= 17
    assert len(detected) <= 20
