"""False accepts are the events of the detector; the chosen threshold is the lowest one."""

import hashlib
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from scipy.stats import poisson

from earful.data.audio.decode import Waveform
from earful.data.audio.stream_reader import read_blocks
from earful.data.labels.clip import Clip
from earful.models.bundle.event_options import EventOptions
from earful.models.registry.shipped import SHIPPED_MODELS
from earful.service.batch.inputs import find_inputs
from earful.service.classifier import Classifier
from earful.service.events import detect_events
from earful.training.evaluation.false_accepts import (
    FalseAcceptError,
    OperatingPoints,
    SoundScores,
    hours_needed,
    upper_bound,
)
from earful.training.evaluation.negatives import LabelledFiles, find_negatives, without_copies
from earful.training.evaluation.stream_negatives import (
    PAUSE_SECONDS,
    StreamedNegatives,
    stream_negatives,
)
from tests.training.conftest import RATE_HZ

MODEL = SHIPPED_MODELS["digits-small"]  # the faster one

GAP_SECONDS = 0.3


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.open(MODEL)


def clicks(seconds: float, seed: int) -> Waveform:
    """Short bursts of noise, many of them closer than the minimum gap."""
    generator = np.random.default_rng(seed)
    sound = 1e-4 * generator.standard_normal(round(seconds * RATE_HZ))
    for start in generator.uniform(0, seconds - 0.3, round(3 * seconds)):
        first, n = round(start * RATE_HZ), round(generator.uniform(0.05, 0.3) * RATE_HZ)
        sound[first : first + n] += 0.2 * generator.standard_normal(n) * np.hanning(n)
    return sound.astype(np.float32)


def run(classifier: Classifier, *paths: Path) -> StreamedNegatives:
    return stream_negatives(classifier, list(find_inputs([str(path) for path in paths])))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "clicks.wav"
    soundfile.write(path, clicks(90, seed=1), RATE_HZ)
    return path


@pytest.mark.slow
def test_false_accepts_are_the_events_of_the_detector(
    classifier: Classifier, recording: Path
) -> None:
    streamed = run(classifier, recording)
    assert (streamed.n_recordings, len(streamed.clip_scores)) == (1, 0)
    assert streamed.seconds == pytest.approx(90)
    _, sounds = streamed.sounds
    assert np.diff(sounds.starts_seconds).min() < GAP_SECONDS  # the gap has something to do
    for threshold in (0.0, *np.quantile(sounds.scores, [0.1, 0.3, 0.5, 0.7, 0.9]).tolist()):
        blocks = read_blocks(recording, RATE_HZ)
        expected = [
            (event.start, event.label, event.score)
            for event in detect_events(
                classifier, blocks, EventOptions(threshold, min_gap_seconds=GAP_SECONDS)
            )
        ]
        kept = sounds.events(threshold, GAP_SECONDS)
        assert [
            (
                round(max(0.0, float(sounds.starts_seconds[n])), 3),
                classifier.labels[int(sounds.labels[n])],
                float(sounds.scores[n]),
            )
            for n in kept
        ] == expected
        assert expected


@pytest.mark.slow
def test_short_clips_are_one_stream_with_pauses(
    classifier: Classifier, spoken_words: Path, recording: Path
) -> None:
    alone, both = run(classifier, spoken_words), run(classifier, spoken_words, recording)
    n_clips = len(list(find_inputs([str(spoken_words)])))
    assert (alone.n_recordings, len(alone.clip_scores)) == (0, n_clips)
    low, high = PAUSE_SECONDS
    assert low * n_clips < alone.pause_seconds < high * n_clips
    assert len(alone.sounds[0].scores) > n_clips / 2
    again = run(classifier, spoken_words)
    np.testing.assert_array_equal(alone.sounds[0].scores, again.sounds[0].scores)
    np.testing.assert_array_equal(alone.sounds[0].scores, both.sounds[0].scores)
    assert both.seconds == pytest.approx(alone.seconds + 90)


@pytest.mark.slow
def test_segments_of_a_csv_are_clips_or_streams_by_their_length(
    classifier: Classifier, recording: Path, tmp_path: Path
) -> None:
    csv_path = tmp_path / "other.csv"
    csv_path.write_text(
        "filename,start,end\n"
        + "".join(f"{recording},{start},{end}\n" for start, end in ((60, 61), (5, 7), (20, 50)))
        + f"{recording},80,95\n{recording},88,97\n"
    )
    streamed = run(classifier, csv_path)
    assert (streamed.n_recordings, len(streamed.clip_scores)) == (1, 2)
    assert streamed.seconds == pytest.approx(33 + streamed.pause_seconds)
    assert [problem.code for problem in streamed.failed] == ["bad_segment"] * 2
    sound, _ = soundfile.read(recording, dtype="float32")
    soundfile.write(tmp_path / "cut.wav", sound[20 * RATE_HZ : 50 * RATE_HZ], RATE_HZ)
    np.testing.assert_allclose(
        streamed.sounds[1].scores,
        run(classifier, tmp_path / "cut.wav").sounds[1].scores,
        atol=1e-4,
    )


@pytest.mark.slow
def test_a_recording_that_ends_too_early_counts_for_nothing(
    classifier: Classifier, recording: Path, tmp_path: Path
) -> None:
    broken = tmp_path / "broken.flac"
    soundfile.write(broken, clicks(200, seed=3), RATE_HZ)
    broken.write_bytes(broken.read_bytes()[:-200_000])
    streamed = run(classifier, recording, broken)
    assert [problem.filename for problem in streamed.failed] == [str(broken)]
    assert streamed.seconds == pytest.approx(90)
    assert streamed.n_recordings == 1


def points(hours: float = 2.0, seed: int = 0) -> OperatingPoints:
    """Random scores of 300 sounds, some close together, and of 200 labelled clips."""
    generator = np.random.default_rng(seed)
    scores = generator.beta(1, 3, 300).astype(np.float32)
    sounds = SoundScores(
        np.cumsum(generator.exponential(0.4, 300)), scores, generator.integers(0, 3, 300)
    )
    found = generator.beta(5, 2, 180).astype(np.float32)
    return OperatingPoints((sounds,), hours, found, 200, GAP_SECONDS)


@pytest.mark.parametrize("wanted", [0.5, 1.0, 7.0, 40.0])
def test_the_threshold_of_a_rate_is_the_lowest_that_keeps_it(wanted: float) -> None:
    measured = points()
    result = measured.at_rate(wanted)
    assert result.point is not None
    assert result.point.per_hour <= wanted
    below = float(np.nextafter(np.float32(result.point.threshold), np.float32(0)))
    assert measured.at(below).per_hour > wanted
    assert result.point.per_hour == measured.false_accepts(result.point.threshold) / 2
    assert result.point.misses == 1 - (measured.found_scores >= result.point.threshold).sum() / 200


def test_a_rate_that_needs_no_threshold_gets_none_and_an_impossible_one_no_point() -> None:
    measured = points()
    everything = measured.at_rate(10_000)
    assert everything.point is not None
    assert (everything.point.threshold, everything.point.misses) == (0, pytest.approx(0.1))
    certain = SoundScores(np.arange(4.0), np.ones(4, np.float32), np.zeros(4, np.int64))
    found = np.array([0.6, 0.7], np.float32)
    assert OperatingPoints((certain,), 1.0, found, 2, GAP_SECONDS).at_rate(1).point is None
    lowest = OperatingPoints((certain,), 1.0, found, 2, GAP_SECONDS).lowest_rate()
    assert lowest is not None
    assert (lowest.per_hour, lowest.misses) == (4, 0.5)
    nothing = OperatingPoints((certain,), 1.0, np.zeros(0, np.float32), 2, GAP_SECONDS)
    assert nothing.lowest_rate() is None


def test_rates_fall_and_misses_rise_along_the_curve() -> None:
    measured = points()
    curve = measured.curve(0.123)
    assert curve[0].threshold == 0
    assert 0.123 in [point.threshold for point in curve]
    assert (np.diff([point.threshold for point in curve]) > 0).all()
    assert (np.diff([point.per_hour for point in curve]) <= 0).all()
    assert (np.diff([point.misses for point in curve]) >= 0).all()
    assert curve[-1].per_hour == 0
    counts = {point.false_accepts for point in curve}
    assert set(range(20)) <= counts  # where a threshold is chosen, no step is left out


def test_labels_of_false_accepts_add_up() -> None:
    measured = points()
    counts = measured.labels_accepted(0.3, ("a", "b", "c"))
    assert sum(counts.values()) == measured.false_accepts(0.3)
    assert list(counts.values()) == sorted(counts.values(), reverse=True)


@pytest.mark.parametrize("count", [0, 1, 7, 200])
def test_upper_bound_is_exceeded_in_one_of_twenty_measurements(count: int) -> None:
    assert poisson.cdf(count, upper_bound(count)) == pytest.approx(0.05)


def test_no_false_accept_in_three_hours_makes_one_an_hour_certain() -> None:
    assert upper_bound(0) / hours_needed(1.0) == pytest.approx(1.0, abs=0.01)
    assert hours_needed(0.5) == 6


def test_copies_count_once_and_labelled_clips_are_refused(tmp_path: Path, recording: Path) -> None:
    soundfile.write(tmp_path / "a.wav", clicks(1, seed=5), RATE_HZ)
    (tmp_path / "b.wav").write_bytes((tmp_path / "a.wav").read_bytes())
    metadata = Classifier.open(MODEL).metadata
    found, _ = find_negatives([tmp_path, recording], metadata)
    kept, notes = without_copies(found, LabelledFiles())
    assert [Path(source.location).name for source in kept] == ["a.wav", "clicks.wav"]
    assert "which count once: 1" in notes[0]
    sha256 = hashlib.sha256((tmp_path / "a.wav").read_bytes()).hexdigest()
    labelled = LabelledFiles()
    labelled.add(sha256, Clip(2, "x.wav", tmp_path / "x.wav", "7"))
    with pytest.raises(FalseAcceptError, match=r"2 negatives are labelled clips .*a\.wav"):
        without_copies(found, labelled)


def test_other_segments_of_a_labelled_file_are_negatives(tmp_path: Path, recording: Path) -> None:
    csv_path = tmp_path / "other.csv"
    csv_path.write_text(f"filename,start,end\n{recording},0,4\n{recording},6,8\n")
    found, _ = find_negatives([csv_path], Classifier.open(MODEL).metadata)
    sha256 = hashlib.sha256(recording.read_bytes()).hexdigest()
    labelled = LabelledFiles()
    labelled.add(sha256, Clip(2, "x", recording, "7", start_seconds=4, end_seconds=5))
    assert len(without_copies(found, labelled)[0]) == 2
    labelled.add(sha256, Clip(3, "x", recording, "7", start_seconds=7.5, end_seconds=8.5))
    with pytest.raises(FalseAcceptError, match="1 negatives are labelled clips"):
        without_copies(found, labelled)


@pytest.mark.slow
def test_memory_does_not_grow_with_a_recording(classifier: Classifier, tmp_path: Path) -> None:
    sound = np.zeros(12 * 60 * RATE_HZ, np.float32)
    sound[: 2 * RATE_HZ] = clicks(2, seed=6)
    soundfile.write(tmp_path / "long.wav", sound, RATE_HZ)
    n_bytes = sound.nbytes
    del sound
    tracemalloc.start()
    try:
        streamed = run(classifier, tmp_path / "long.wav")
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert streamed.seconds == pytest.approx(12 * 60)
    assert peak_bytes < n_bytes / 2
