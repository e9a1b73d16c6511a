"""Sounds in a recording: one event each, at its time, for any size of chunks."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform
from earful.data.errors import UsageError
from earful.models.bundle.event_options import EventOptions
from earful.models.registry.shipped import SHIPPED_MODEL
from earful.service.classifier import Classifier
from earful.service.events import Event, detect_events
from tests.fixtures.built_once import built_once
from tests.fixtures.synthetic_audio import (
    PITCHES_HZ,
    RATE_HZ,
    noise,
    overlay_at,
    tone,
    train_tones,
)

SOUNDS = [("low", 0.5), ("high", 1.6), ("mid", 2.9), ("high", 4.0)]
OPTIONS = EventOptions(min_score=0.5)


@pytest.fixture(scope="module")
def noise_classifier(tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    """Of another seed: whether so small a network hears tones in loud noise depends on it."""
    folder = built_once(tmp_path_factory, "other-tones", partial(train_tones, seed=2))
    return Classifier.open(folder / "tones.onnx")


def sentence(level: float = 1e-4) -> Waveform:
    whole = noise(5.5, level)
    for label, start in SOUNDS:
        whole = overlay_at(tone(label), start, whole)
    return whole


def find(
    classifier: Classifier,
    sound: Waveform,
    options: EventOptions = OPTIONS,
    chunk_samples: int = 800,
) -> list[Event]:
    """The events of a sound that arrives in chunks of ``chunk_samples``."""
    starts = range(0, len(sound), chunk_samples)
    return list(
        detect_events(classifier, (sound[at : at + chunk_samples] for at in starts), options)
    )


def labels(events: list[Event]) -> list[str]:
    return [event.label for event in events]


def held(label: str, seconds: float) -> Waveform:
    """A sound as loud from its beginning to its end: a pitch with noise."""
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    phase = 2 * np.pi * PITCHES_HZ[label] * time
    pitch = 0.3 * (np.sin(phase) + 0.3 * np.sin(2 * phase))
    return pitch.astype(np.float32) + noise(seconds, 0.01)


@pytest.mark.parametrize("chunk_samples", [37, 800, 100_000])
def test_each_sound_is_one_event_at_its_time(classifier: Classifier, chunk_samples: int) -> None:
    events = find(classifier, sentence(), chunk_samples=chunk_samples)
    assert labels(events) == [label for label, _ in SOUNDS]
    for event, (_, start) in zip(events, SOUNDS, strict=True):
        assert event.start == pytest.approx(start, abs=0.04)
        assert event.end == pytest.approx(start + 0.4, abs=0.04)


def test_chunks_of_any_size_give_the_same_events(classifier: Classifier) -> None:
    generator = np.random.default_rng(1)
    parts = [sentence(0.003), sentence(0.003), held("low", 4.2), held("high", 3.7), noise(2, 0.003)]
    sound = np.concatenate(parts).astype(np.float32)
    whole = list(detect_events(classifier, [sound], OPTIONS))
    assert len(whole) == 10
    for _ in range(5):
        cuts = np.sort(generator.integers(0, len(sound), 200))
        pieces = [piece for piece in np.split(sound, cuts) if len(piece)]
        again = list(detect_events(classifier, pieces, OPTIONS))
        assert [(e.start, e.end, e.label) for e in again] == [
            (e.start, e.end, e.label) for e in whole
        ]
        np.testing.assert_allclose([e.score for e in again], [e.score for e in whole], atol=1e-5)


@pytest.mark.parametrize("pause_seconds", [0.15, 0.3])
def test_a_second_sound_soon_after_is_an_event_of_its_own(
    classifier: Classifier, pause_seconds: float
) -> None:
    low = overlay_at(tone("low", 0.3), 0.5, noise(2.5, 1e-4))
    events = find(classifier, overlay_at(tone("high", 0.3), 0.8 + pause_seconds, low))
    assert labels(events) == ["low", "high"]
    assert min(event.score for event in events) > 0.9


def test_scores_of_one_sound_do_not_count_for_the_next(classifier: Classifier) -> None:
    for gap_seconds in (0.5, 0.7, 0.9):
        low = overlay_at(tone("low"), 0.5, noise(3.0, 1e-4))
        events = find(classifier, overlay_at(tone("high"), 0.9 + gap_seconds, low))
        assert labels(events) == ["low", "high"]
        assert float(events[1].scores[classifier.labels.index("low")]) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("level", [0.003, 0.03])
def test_sounds_are_found_in_noise(noise_classifier: Classifier, level: float) -> None:
    events = find(noise_classifier, sentence(level))
    assert labels(events) == [label for label, _ in SOUNDS]
    for event, (_, start) in zip(events, SOUNDS, strict=True):
        assert event.start == pytest.approx(start, abs=0.08)


def test_events_in_noise_are_in_order_of_time(classifier: Classifier) -> None:
    """Of a label that comes again, it is known later whether it lasts than of those between."""
    sound = np.concatenate([sentence(0.03), noise(6, 0.03)])
    events = find(classifier, sound, EventOptions(min_score=0.9))
    assert labels(events) == [label for label, _ in SOUNDS]


def test_sounds_without_a_pause_are_split_where_the_label_changes(classifier: Classifier) -> None:
    sound = np.concatenate([held("low", 6), held("high", 5), held("mid", 7), held("low", 4)])
    events = find(classifier, sound.astype(np.float32))
    assert labels(events) == ["low", "high", "mid", "low"]
    borders = [0.0, 6.0, 11.0, 18.0, 22.0]
    half_a_clip = classifier.metadata.features.clip_seconds / 2
    assert [e.start for e in events] == pytest.approx(borders[:-1], abs=half_a_clip)
    assert [e.end for e in events] == pytest.approx(borders[1:], abs=half_a_clip)


def test_a_long_sound_between_pauses_is_one_event(classifier: Classifier) -> None:
    events = find(classifier, overlay_at(held("mid", 2.4), 3.0, noise(8, 1e-4)))
    assert labels(events) == ["mid"]
    assert events[0].start == pytest.approx(3.0, abs=0.3)
    assert events[0].end == pytest.approx(5.4, abs=0.3)


def test_what_is_far_quieter_than_the_sounds_is_background(classifier: Classifier) -> None:
    hiss = noise(40, 0.002)  # which the model would call "high"
    assert labels(find(classifier, overlay_at(tone("low"), 1.0, hiss))) == ["low"]


def test_silence_gives_no_events(classifier: Classifier) -> None:
    assert find(classifier, np.zeros(3 * RATE_HZ, np.float32)) == []
    assert find(classifier, np.zeros(1, np.float32)) == []
    assert find(classifier, np.zeros(0, np.float32)) == []


def test_a_single_word_without_pauses_is_an_event(classifier: Classifier) -> None:
    [event] = find(classifier, tone("mid", 0.4))
    assert event.label == "mid"
    assert (event.start, event.end) == (0.0, 0.4)


def test_a_recording_may_begin_and_end_within_a_sound(classifier: Classifier) -> None:
    sound = overlay_at(tone("high", 0.4), 2.8, overlay_at(tone("low", 0.4), 0, noise(3.2, 1e-4)))
    events = find(classifier, sound[400:-400])
    assert labels(events) == ["low", "high"]
    assert events[0].start == pytest.approx(0, abs=0.03)
    assert events[1].end == pytest.approx(3.1, abs=0.03)


def test_clipped_audio_gives_its_events(classifier: Classifier) -> None:
    clipped = np.clip(8 * sentence(0.003), -1, 1).astype(np.float32)
    assert labels(find(classifier, clipped)) == [label for label, _ in SOUNDS]


def test_background_labels_give_no_events(classifier: Classifier) -> None:
    found = find(classifier, sentence(), EventOptions(min_score=0.5, background=("HIGH",)))
    assert labels(found) == ["low", "mid"]


def test_windows_may_be_scored_elsewhere(classifier: Classifier) -> None:
    asked = []

    def score(windows: Sequence[tuple[Waveform, int]]) -> NDArray[np.float32]:
        asked.append(len(windows))
        return classifier.predict_windows(windows)

    events = list(detect_events(classifier, [sentence()], OPTIONS, score_windows=score))
    assert labels(events) == [label for label, _ in SOUNDS]
    assert sum(asked) == OPTIONS.n_windows * len(SOUNDS)


def test_labels_may_have_scores_of_their_own(classifier: Classifier) -> None:
    found = find(classifier, sentence(), EventOptions(0.5, label_min_scores={"high": 1.0}))
    assert labels(found) == ["low", "mid"]
    with pytest.raises(UsageError, match="hihg=1 names no label of the model, which has "):
        find(classifier, sentence(), EventOptions(label_min_scores={"hihg": 1.0}))


def test_minimum_gap_and_score_suppress_events(classifier: Classifier) -> None:
    found = find(classifier, sentence(), EventOptions(min_score=0.5, min_gap_seconds=2.0))
    assert labels(found) == ["low", "mid"]
    assert find(classifier, sentence(), EventOptions(min_score=1.1)) == []


def test_real_digits_in_a_row_are_one_event_each(fsdd: Path) -> None:
    classifier = Classifier.open(SHIPPED_MODEL)
    parts, starts, at = [], [], 0
    for n, digit in enumerate("31746520819427065831"):
        speaker = ("jackson", "theo", "nicolas", "yweweler")[n % 4]
        word, _ = soundfile.read(fsdd / "recordings" / f"{digit}_{speaker}_{n % 5}.wav")
        parts += [np.zeros(3_000), word]
        starts.append((digit, (at + 3_000) / RATE_HZ))
        at += 3_000 + len(word)
    events = list(detect_events(classifier, [np.concatenate(parts).astype(np.float32)]))
    assert labels(events) == [digit for digit, _ in starts]
    assert [event.start for event in events] == pytest.approx([at for _, at in starts], abs=0.15)
