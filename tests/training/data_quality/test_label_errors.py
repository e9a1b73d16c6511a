"""Flipped labels are found; correct labels are not."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from earful.data.audio.decode import resample
from earful.data.dataset.reader import ClipAudio, read_clips
from earful.data.labels.clip import Clip
from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.labels_csv import read_labels
from earful.data.labels.multilabel import sort_labels
from earful.training.data_quality import label_errors
from earful.training.data_quality.encoder_vectors import ClipEncoder
from earful.training.data_quality.leave_one_out import comparison_kernel, leave_one_out_scores
from earful.training.data_quality.measure_clip import ClipMeasurement, measure_clip
from earful.training.data_quality.run_checks import find_label_errors
from tests.fixtures.synthetic_audio import PITCHES_HZ, RATE_HZ, noise, tone

Thumbnails = NDArray[np.float16]


def ignore_progress(done: int, total: int) -> None:
    """A progress callback that does nothing."""


def tones(per_label: int, seed: int = 0) -> list[ClipMeasurement]:
    """Tones in noise, of different durations and levels."""
    generator = np.random.default_rng(seed)
    sounds = []
    for label in PITCHES_HZ:
        for n in range(per_label):
            seconds = float(generator.uniform(0.25, 0.6))
            word = tone(label, seconds, float(generator.uniform(0.1, 0.5)))
            mixed = word + noise(seconds, 0.01, len(sounds))[: len(word)]
            clip = Clip(len(sounds) + 2, f"{label}{n}.wav", Path("x"), label)
            sounds.append(measure_clip(clip, ClipAudio(mixed, "", RATE_HZ)))
    return sounds


@pytest.fixture(scope="module")
def thumbnails() -> Thumbnails:
    return np.stack([sound.thumbnail for sound in tones(20)])


TRUE_LABELS = np.repeat(np.arange(3), 20)


def test_flipped_labels_are_found_with_the_correct_ones(thumbnails: Thumbnails) -> None:
    given = TRUE_LABELS.copy()
    flipped = [3, 25, 47]
    given[flipped] = (TRUE_LABELS[flipped] + 1) % 3
    found = label_errors.estimate_label_errors(thumbnails, None, given, 3, ignore_progress)
    assert (
        list(np.flatnonzero(found.error_probability > label_errors.ERROR_PROBABILITY_THRESHOLD))
        == flipped
    )
    assert list(found.suggested[flipped]) == list(TRUE_LABELS[flipped])
    assert 0.01 < found.error_rate < 0.1


def test_correct_labels_are_not_listed(thumbnails: Thumbnails) -> None:
    assert (
        label_errors.estimate_label_errors(
            thumbnails, None, TRUE_LABELS, 3, ignore_progress
        ).error_probability.max()
        < label_errors.ERROR_PROBABILITY_THRESHOLD
    )


def test_random_labels_flag_no_clip(thumbnails: Thumbnails) -> None:
    shuffled = np.random.default_rng(1).permutation(TRUE_LABELS)
    assert (
        label_errors.estimate_label_errors(
            thumbnails, None, shuffled, 3, ignore_progress
        ).error_probability
        > label_errors.ERROR_PROBABILITY_THRESHOLD
    ).mean() < 0.1


def test_closed_form_leave_one_out_matches_refitting(thumbnails: Thumbnails) -> None:
    kernel = comparison_kernel(thumbnails, None)
    trusted = np.ones(60, bool)
    trusted[[5, 30]] = False
    scores = leave_one_out_scores(kernel, TRUE_LABELS, 3, trusted)
    targets = np.eye(3)[TRUE_LABELS] - 1 / 3
    for clip in (0, 5, 42):
        others = np.flatnonzero(trusted & (np.arange(60) != clip))
        ridge = kernel[np.ix_(others, others)].astype(np.float64) + 0.05 * np.eye(len(others))
        expected = kernel[clip, others] @ np.linalg.solve(ridge, targets[others])
        np.testing.assert_allclose(scores[clip], expected, atol=2e-3)


def test_large_dataset_is_checked_in_parts(
    thumbnails: Thumbnails,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(label_errors, "MAX_BLOCK_CLIPS", 32)
    given = TRUE_LABELS.copy()
    given[7] = 2
    progress_calls: list[tuple[int, int]] = []
    found = label_errors.estimate_label_errors(
        thumbnails, None, given, 3, lambda *at: progress_calls.append(at)
    )
    assert list(
        np.flatnonzero(found.error_probability > label_errors.ERROR_PROBABILITY_THRESHOLD)
    ) == [7]
    assert progress_calls == [(n, 6) for n in range(7)]


def test_identical_sounding_clips_flag_no_clip() -> None:
    same = np.zeros((12, 2, 960), np.float16)
    assert (
        label_errors.estimate_label_errors(
            same, None, np.repeat([0, 1], 6), 2, ignore_progress
        ).error_probability.max()
        < label_errors.ERROR_PROBABILITY_THRESHOLD
    )


def test_too_few_clips_are_skipped_with_a_note() -> None:
    findings, summary = find_label_errors(tones(4), {}, ignore_progress)
    assert (summary.clips, summary.error_rate) == (0, None)
    assert "5 clips or more" in summary.reason
    assert [f.code for f in findings] == ["not_checked"] * 3
    assert "'low' has 4 clips" in findings[0].message


def test_misspelt_label_is_checked_as_its_corrected_label() -> None:
    sounds = tones(8)
    object.__setattr__(sounds[0].clip, "label", "Low")
    findings, summary = find_label_errors(sounds, {"Low": "low"}, ignore_progress)
    assert (findings, summary.clips) == ([], 24)


def vectors_of(codes: NDArray[np.intp], spread: float) -> NDArray[np.float32]:
    """Vectors (clips, 20) around a centre for each label."""
    generator = np.random.default_rng(2)
    centres = generator.standard_normal((codes.max() + 1, 20))
    return np.float32(centres[codes] + spread * generator.standard_normal((len(codes), 20)))


@pytest.mark.parametrize("max_block_clips", [4_000, 32])
def test_encoder_vectors_find_what_thumbnails_do_not_show(
    monkeypatch: pytest.MonkeyPatch, max_block_clips: int
) -> None:
    monkeypatch.setattr(label_errors, "MAX_BLOCK_CLIPS", max_block_clips)
    noise_only = np.random.default_rng(3).standard_normal((60, 2, 40)).astype(np.float16)
    given = TRUE_LABELS.copy()
    given[[3, 25]] = [2, 0]
    vectors = vectors_of(TRUE_LABELS, 0.3)
    found = label_errors.estimate_label_errors(noise_only, vectors, given, 3, ignore_progress)
    assert found.used_encoder
    assert list(np.flatnonzero(found.error_probability > 0.5)) == [3, 25]
    assert list(found.suggested[[3, 25]]) == [0, 1]


def test_encoder_vectors_that_lower_the_accuracy_are_not_used() -> None:
    thumbnails = vectors_of(TRUE_LABELS, 1.5).reshape(60, 2, 10).astype(np.float16)
    of_other_labels = vectors_of(np.arange(60) % 3, 0.01)
    found = label_errors.estimate_label_errors(
        thumbnails, of_other_labels, TRUE_LABELS, 3, ignore_progress
    )
    alone = label_errors.estimate_label_errors(thumbnails, None, TRUE_LABELS, 3, ignore_progress)
    assert not found.used_encoder
    np.testing.assert_array_equal(found.error_probability, alone.error_probability)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("encoded", "recall", "precision"), [(False, 0.9, 0.8), (True, 0.95, 0.95)]
)
def test_most_flipped_digits_are_found_and_little_else(
    fsdd: Path, encoded: bool, recall: float, precision: float
) -> None:
    clips = read_labels(fsdd / "labels_full.csv", CsvOptions(fsdd / "recordings")).clips[::4]
    read = [(c, a) for c, a in read_clips(clips, None) if isinstance(a, ClipAudio)]
    sounds = [measure_clip(clip, audio) for clip, audio in read]
    encoder = ClipEncoder()
    for _, audio in read if encoded else ():
        encoder.add(resample(audio.waveform, audio.source_rate_hz, 16_000))
    labels = sort_labels(sound.clip.label for sound in sounds)
    true_labels = np.array([labels.index(sound.clip.label) for sound in sounds])
    given, generator = true_labels.copy(), np.random.default_rng(11)
    flipped = generator.choice(len(true_labels), len(true_labels) // 20, replace=False)
    given[flipped] = (given[flipped] + generator.integers(1, 10, len(flipped))) % 10
    found = label_errors.estimate_label_errors(
        np.stack([s.thumbnail for s in sounds]),
        np.stack(encoder.vectors()) if encoded else None,
        given,
        10,
        ignore_progress,
    )
    listed = found.error_probability > 0.5
    hits = int(listed[flipped].sum())
    assert found.used_encoder == encoded
    assert hits >= recall * len(flipped)
    assert hits >= precision * listed.sum()
