"""Silent, clipped, short, long and duplicate clips, sample rates, DC offset, speakers."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earful.data.dataset.reader import ClipAudio
from earful.data.labels.clip import Clip
from earful.training.data_quality.duplicates import (
    check_duplicates,
    check_speakers,
    drop_ambiguous_duplicates,
)
from earful.training.data_quality.file_checks import check_files
from earful.training.data_quality.measure_clip import (
    THUMBNAIL_FEATURES,
    THUMBNAIL_FRAMES,
    ClipMeasurement,
    clipped_share,
    log_mel_thumbnail,
    measure_clip,
)
from tests.fixtures.synthetic_audio import PITCHES_HZ, RATE_HZ, Waveform, noise, tone


def measured_clip(
    sound: Waveform, label: str = "mid", line: int = 2, rate_hz: int = RATE_HZ
) -> ClipMeasurement:
    clip = Clip(line, f"{line}.wav", Path(f"{line}.wav"), label)
    return measure_clip(clip, ClipAudio(sound, "", rate_hz))


def findings_of(sounds: Sequence[ClipMeasurement]) -> list[tuple[str, int]]:
    return [(finding.code, finding.line) for finding in check_files(sounds)]


@pytest.fixture
def normal_clips() -> list[ClipMeasurement]:
    """Twenty clips of three labels, about half a second each, without any problem."""
    labels = list(PITCHES_HZ)

    def normal_clip(n: int) -> ClipMeasurement:
        label, seconds = labels[n % 3], 0.4 + 0.01 * n
        return measured_clip(tone(label, seconds) + noise(seconds, 0.001, n), label, n + 2)

    return [normal_clip(n) for n in range(20)]


def test_normal_clips_have_no_findings(normal_clips: list[ClipMeasurement]) -> None:
    assert findings_of(normal_clips) == []
    assert check_duplicates(normal_clips) == []
    assert drop_ambiguous_duplicates(normal_clips) == normal_clips


def test_each_defect_is_reported_with_its_line(normal_clips: list[ClipMeasurement]) -> None:
    defective = [
        measured_clip(np.zeros(4_000, np.float32), line=100),
        measured_clip(np.full(4_000, 0.5, np.float32), line=101),  # DC only: silent
        measured_clip(np.clip(3 * tone("mid", 0.5, 0.5), -0.9, 0.9), line=102),
        measured_clip(tone("mid", 0.04), line=103),
        measured_clip(tone("mid", 0.08), line=104),
        measured_clip(tone("mid", 9.0), line=105),
        measured_clip(tone("mid", 0.5) + np.float32(0.1), line=106),
        measured_clip(tone("mid", 0.5, rate_hz=16_000), line=107, rate_hz=16_000),
        measured_clip(noise(0.5, 1e-5), line=108),
    ]
    assert sorted(findings_of([*normal_clips, *defective])) == [
        ("clipped", 102),
        ("dc_offset", 101),
        ("dc_offset", 106),
        ("long_clip", 105),
        ("mixed_rates", 0),
        ("short_clip", 103),
        ("short_clip", 104),
        ("silent", 100),
        ("silent", 101),
        ("silent", 108),
    ]


def test_silence_is_accepted_when_a_label_means_silence(
    normal_clips: list[ClipMeasurement],
) -> None:
    silence = np.zeros(4_000, np.float32)
    assert findings_of([*normal_clips, measured_clip(silence, "_silence_", 100)]) == []
    assert (
        findings_of([*normal_clips, *(measured_clip(silence, "stille", 100 + n) for n in range(3))])
        == []
    )
    assert check_duplicates([measured_clip(silence, "a", 2), measured_clip(silence, "b", 3)]) == []


def test_sample_rate_that_reveals_the_label_is_a_warning(
    normal_clips: list[ClipMeasurement],
) -> None:
    high = [
        measured_clip(tone("high", 0.5, rate_hz=16_000), "high", 100 + n, 16_000) for n in range(6)
    ]
    others = [sound for sound in normal_clips if sound.clip.label != "high"]
    found = check_files([*others, *high])
    assert [(f.code, f.label, f.severity) for f in found] == [
        ("sample_rate_leak", "high", "warning"),
        ("mixed_rates", "", "note"),
    ]


def test_loud_and_quiet_audio_is_not_clipped() -> None:
    assert clipped_share(tone("low", 0.5, 0.75)) < 0.005
    assert clipped_share(np.sign(noise(0.5, 1.0)) * np.float32(0.01)) == 0
    assert clipped_share(np.clip(2 * tone("low", 0.5, 0.75), -1, 1)) > 0.2


@pytest.mark.parametrize("n", [1, 7, 400, 80_000])
def test_thumbnail_has_a_fixed_size_and_ignores_level_and_padding(n: int) -> None:
    sound = noise(n / RATE_HZ, 0.1)
    assert log_mel_thumbnail(sound).shape == (2, THUMBNAIL_FRAMES * THUMBNAIL_FEATURES.n_mels)
    np.testing.assert_allclose(log_mel_thumbnail(sound), log_mel_thumbnail(sound / 8), atol=0.05)


def test_thumbnail_ignores_the_surrounding_silence() -> None:
    word = tone("mid", 0.5, rate_hz=16_000)
    alone, late = log_mel_thumbnail(word), log_mel_thumbnail(np.pad(word, (9_000, 4_000)))
    other = log_mel_thumbnail(tone("high", 0.5, rate_hz=16_000))
    assert np.abs(alone - late).mean() < 0.2 * np.abs(alone - other).mean()


def test_duplicates_are_found_by_their_audio(normal_clips: list[ClipMeasurement]) -> None:
    first, second, third = normal_clips[:3]

    def copy(of: ClipMeasurement, line: int, **changes: str) -> ClipMeasurement:
        return replace(of, clip=replace(of.clip, line=line, filename=f"{line}.flac", **changes))

    same, renamed = copy(first, 100), copy(second, 101, label="other")
    train = replace(third, clip=replace(third.clip, split="train"))
    test = copy(third, 102, split="test")
    sounds = [first, second, train, *normal_clips[3:], same, renamed, test]
    assert [(f.code, f.line, f.severity) for f in check_duplicates(sounds)] == [
        ("duplicate", 100, "warning"),
        ("conflicting_labels", second.clip.line, "error"),
        ("conflicting_labels", 101, "error"),
        ("leaked_audio", train.clip.line, "error"),
        ("leaked_audio", 102, "error"),
    ]
    unique_lines = {sound.clip.line for sound in drop_ambiguous_duplicates(sounds)}
    assert unique_lines == {s.clip.line for s in normal_clips} - {second.clip.line}


def test_speakers_in_several_splits_are_reported() -> None:
    def clip(line: int, speaker: str, split: str) -> Clip:
        return Clip(line, f"{line}.wav", Path("x"), "a", speaker, split)

    found = check_speakers(
        [
            clip(2, "ann", "train"),
            clip(3, "ann", "test"),
            clip(4, "ann", "train"),
            clip(5, "bob", "train"),
            clip(6, "bob", "val"),
            clip(7, "eve", "test"),
            clip(8, "", "train"),
            clip(9, "", "test"),
        ]
    )
    assert [(f.line, f.severity, f.message) for f in found] == [
        (2, "warning", "speaker 'ann': 2 clips in train, 1 clip in test"),
        (5, "note", "speaker 'bob': 1 clip in train, 1 clip in val"),
    ]
