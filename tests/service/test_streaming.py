"""Words in a stream: each heard once, at its time, however the sound is cut into pieces."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earful.data.audio.decode import Waveform, resample
from earful.models.registry.find_model import SHIPPED_MODEL
from earful.service.classifier import Classifier
from earful.service.events import Event, Hop, StreamOptions, Windows, Words
from tests.fixtures.sounds import RATE_HZ, noise, placed, tone

SPOKEN = [("low", 0.5), ("high", 1.6), ("mid", 2.9), ("high", 4.0)]
OPTIONS = StreamOptions(sample_rate_hz=RATE_HZ)


def sentence(level: float = 1e-4) -> Waveform:
    whole = noise(5.5, level)
    for label, start in SPOKEN:
        whole = placed(tone(label), start, whole)
    return whole


def listen(
    classifier: Classifier, sound: Waveform, options: StreamOptions = OPTIONS, piece: int = 800
) -> tuple[list[Hop], list[Event]]:
    """All windows and events of a sound that comes in pieces of so many samples."""
    features = classifier.metadata.features
    windows = Windows(options, features.sample_rate_hz, features.clip_samples)
    words = Words(options)
    hops, events = [], []
    tail = np.zeros(round(options.sample_rate_hz * features.clip_seconds), np.float32)
    for start in range(0, len(sound) + len(tail), piece):
        for hop in windows.feed(np.concatenate([sound, tail])[start : start + piece]):
            hops.append(hop)
            scores = None
            if hop.centre is not None:
                scores = classifier.classify([hop.waveform])[0].best.scores
            event = words.hear(hop, scores)
            events += [event] if event else []
    return hops, events


def labels(classifier: Classifier, events: Sequence[Event]) -> list[str]:
    return [classifier.labels[int(event.scores.argmax())] for event in events]


@pytest.mark.parametrize("piece", [37, 800, 100_000])
def test_each_word_is_one_event_at_its_time(classifier: Classifier, piece: int) -> None:
    hops, events = listen(classifier, sentence(), piece=piece)
    assert labels(classifier, events) == [label for label, _ in SPOKEN]
    for event, (_, start) in zip(events, SPOKEN, strict=True):
        assert event.start_seconds == pytest.approx(start, abs=0.05)
        assert event.end_seconds == pytest.approx(start + 0.4, abs=0.05)
    ends = [hop.end_seconds for hop in hops]
    np.testing.assert_allclose(np.diff(ends), 0.1, atol=1e-6)
    assert ends[0] == pytest.approx(0.1)


def test_a_window_is_the_sound_at_its_times(classifier: Classifier) -> None:
    sound = sentence()
    hops, _ = listen(classifier, sound, piece=123)
    for hop in hops[10:50]:
        first = round(hop.start_seconds * RATE_HZ)
        there = sound[first : first + len(hop.waveform)]
        kept = hop.waveform != 0
        np.testing.assert_array_equal(hop.waveform[kept], there[kept])
        if hop.centre is not None:
            assert kept.any()


def test_of_two_words_in_a_window_the_nearer_to_its_middle_is_kept(classifier: Classifier) -> None:
    sound = placed(tone("high", 0.3), 1.0, placed(tone("low", 0.3), 0.5, noise(2.0, 1e-4)))
    _, events = listen(classifier, sound)
    assert labels(classifier, events) == ["low", "high"]
    assert min(event.scores.max() for event in events) > 0.9


def test_other_rates_are_resampled(classifier: Classifier) -> None:
    sound = resample(sentence(), RATE_HZ, 44_100)
    options = StreamOptions(sample_rate_hz=44_100)
    _, events = listen(classifier, sound, options, piece=1_764)
    assert labels(classifier, events) == [label for label, _ in SPOKEN]


def test_background_and_silence_are_no_words(classifier: Classifier) -> None:
    for sound in (np.zeros(3 * RATE_HZ, np.float32), noise(4, 0.02)):
        _, events = listen(classifier, sound)
        assert events == []


def test_words_above_a_background_are_heard(classifier: Classifier) -> None:
    _, events = listen(classifier, sentence(level=0.01))
    assert labels(classifier, events) == [label for label, _ in SPOKEN]


def test_a_gap_and_a_least_score_hold_events_back(classifier: Classifier) -> None:
    options = StreamOptions(sample_rate_hz=RATE_HZ, min_gap_seconds=2.0)
    _, events = listen(classifier, sentence(), options)
    assert labels(classifier, events) == ["low", "mid"]
    options = StreamOptions(sample_rate_hz=RATE_HZ, min_score=1.1)
    assert listen(classifier, sentence(), options)[1] == []


def test_real_digits_in_a_row_are_one_event_each(fsdd: Path) -> None:
    """Most of them: a word whose energy is uneven may pass unheard, none may be heard twice."""
    classifier = Classifier.open(SHIPPED_MODEL)
    parts, starts, at = [], [], 0
    for n, digit in enumerate("31746520819427065831"):
        speaker = ("jackson", "theo", "nicolas", "yweweler")[n % 4]
        word, _ = soundfile.read(fsdd / "recordings" / f"{digit}_{speaker}_{n % 5}.wav")
        parts += [np.zeros(3_000), word]
        starts.append((digit, (at + 3_000) / RATE_HZ))
        at += 3_000 + len(word)
    _, events = listen(classifier, np.concatenate(parts).astype(np.float32))
    heard = list(zip(labels(classifier, events), [e.start_seconds for e in events], strict=True))
    right = 0
    for digit, start in starts:
        near = [label for label, time in heard if abs(time - start) < 0.25]
        assert len(near) <= 1
        right += near == [digit]
    assert right >= 17
    assert len(heard) <= 20
