"""The inference path: windows cover a recording, and predictions are independent of the batch."""

from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np
import pytest

from earful.data.audio.decode import Waveform
from earful.service.classifier import MAX_BATCH, Classifier, Cut, Prediction, fill_batches
from tests.fixtures.synthetic_audio import PITCHES_HZ, RATE_HZ, noise, overlay_at, tone

BACKGROUNDS = {"digital silence": 0.0, "low noise": 0.003}


def scores(prediction: Prediction) -> np.ndarray:
    return np.stack([prediction.best.scores, *[w.scores for w in prediction.windows]])


@pytest.mark.parametrize("label", PITCHES_HZ)
@pytest.mark.parametrize("seconds", [0.3, 0.6])
def test_a_tone_gets_its_label_and_probabilities_that_sum_to_one(
    classifier: Classifier, label: str, seconds: float
) -> None:
    [prediction] = classifier.classify([tone(label, seconds)])
    assert prediction.label == label
    assert prediction.score > 0.8
    assert prediction.score == prediction.best.scores.max()
    assert prediction.best.scores.sum() == pytest.approx(1, abs=1e-5)
    assert prediction.seconds == seconds
    assert prediction.ranked()[0] == (prediction.label, prediction.score)
    assert {name for name, _ in prediction.ranked()} == set(PITCHES_HZ)
    ranked = [score for _, score in prediction.ranked()]
    assert ranked == sorted(ranked, reverse=True)


def test_a_batch_equals_each_waveform_alone(classifier: Classifier) -> None:
    lengths = [0.001, 0.1, 0.5, 1.0, 1.01, 2.3, 7.0, 40.0, 0.2]
    waveforms = [noise(seconds, 0.1, seed) for seed, seconds in enumerate(lengths)]
    waveforms += [tone(label) for label in PITCHES_HZ] * MAX_BATCH
    together = classifier.classify(waveforms)
    assert len(together) == len(waveforms)
    for waveform, prediction in zip(waveforms, together, strict=True):
        [alone] = classifier.classify([waveform])
        np.testing.assert_allclose(scores(prediction), scores(alone), atol=1e-6)
        assert (prediction.label, prediction.seconds) == (alone.label, alone.seconds)


@pytest.mark.parametrize("seconds", [1.0, 1.0001, 1.2, 1.25, 2.0, 3.77, 12.3])
def test_windows_cover_a_recording_to_its_end(classifier: Classifier, seconds: float) -> None:
    waveform = noise(seconds, 0.05)
    [prediction] = classifier.classify([waveform])
    starts = [w.start_seconds for w in prediction.windows]
    ends = [w.end_seconds for w in prediction.windows]
    assert starts[0] == 0
    assert ends[-1] == prediction.seconds == len(waveform) / RATE_HZ
    assert starts == sorted(set(starts))
    np.testing.assert_allclose(np.subtract(ends, starts), min(1.0, seconds))
    assert np.diff(starts).max(initial=0) <= 0.25
    best = prediction.best
    assert 0 <= best.start_seconds <= best.end_seconds <= prediction.seconds


@pytest.mark.parametrize("level", BACKGROUNDS.values(), ids=BACKGROUNDS)
@pytest.mark.parametrize("start_seconds", [0.0, 0.13, 0.61, 0.8, 1.0, 1.37, 1.6])
@pytest.mark.parametrize("label", PITCHES_HZ)
def test_a_tone_anywhere_in_two_seconds_gets_its_label(
    classifier: Classifier, label: str, start_seconds: float, level: float
) -> None:
    recording = overlay_at(tone(label), start_seconds, noise(2.0, level))
    [prediction] = classifier.classify([recording])
    assert prediction.label == label
    middle = start_seconds + 0.2
    assert prediction.best.start_seconds < middle < prediction.best.end_seconds


def test_windows_of_a_long_recording_detect_each_tone_at_its_time(classifier: Classifier) -> None:
    recording = noise(9.0, 0.001)
    for n, label in enumerate(PITCHES_HZ):
        recording = overlay_at(tone(label), 3 * n + 1.3, recording)
    [prediction] = classifier.classify([recording])
    for n, label in enumerate(PITCHES_HZ):
        [window] = [w for w in prediction.windows if w.start_seconds == 3 * n + 1]
        assert window.label == label


def test_window_equals_the_same_segment_alone(classifier: Classifier) -> None:
    recording = overlay_at(tone("mid"), 2.2, noise(5.3, 0.02))
    [prediction] = classifier.classify([recording])
    for window in (prediction.best, *prediction.windows):
        first, last = (round(t * RATE_HZ) for t in (window.start_seconds, window.end_seconds))
        [alone] = classifier.classify([recording[first:last]])
        np.testing.assert_allclose(window.scores, alone.best.scores, atol=1e-6)
        assert window.label == alone.label


@pytest.mark.parametrize("n_windows", [[0], [1] * 70, [5, 0, 40, 0, 0, 3, 64], [0] * 2500, [33]])
def test_batches_span_items_and_answers_stay_with_theirs(n_windows: list[int]) -> None:
    """Any number of windows of an item, none included; an answer is the window it is for."""
    waveform, batches = np.zeros(1, np.float32), list[int]()

    def predict(windows: Sequence[Cut]) -> list[int]:
        batches.append(len(windows))
        return [start for _, start in windows]

    starts = [list(range(100 * n, 100 * n + count)) for n, count in enumerate(n_windows)]
    items = ((n, [(waveform, start) for start in cuts]) for n, cuts in enumerate(starts))
    assert list(fill_batches(items, predict)) == list(enumerate(starts))
    assert sum(batches) == sum(n_windows)
    assert max(batches, default=1) <= MAX_BATCH
    if set(n_windows) == {1}:
        assert batches == [MAX_BATCH, MAX_BATCH, len(n_windows) - 2 * MAX_BATCH]


def test_items_wait_for_no_more_than_a_batch(classifier: Classifier) -> None:
    """A list of any length is read as its predictions are taken."""
    n_read = 0

    def items() -> Iterator[tuple[int, Waveform]]:
        nonlocal n_read
        for n in range(10 * MAX_BATCH):
            n_read += 1
            yield n, tone("mid")

    predictions = classifier.classify_items(items())
    assert [(n, found.label) for n, found in islice(predictions, 3)] == [
        (0, "mid"),
        (1, "mid"),
        (2, "mid"),
    ]
    assert n_read == MAX_BATCH


def test_classifying_does_not_change_the_waveform(classifier: Classifier) -> None:
    recording = overlay_at(tone("mid"), 0.2, noise(2.0, 0.02))
    before = recording.copy()
    classifier.classify([recording])
    np.testing.assert_array_equal(recording, before)
