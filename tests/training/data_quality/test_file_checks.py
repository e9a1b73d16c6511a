"""Silent, clipped, short, long and copied clips, rates and offsets."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from earful.data.dataset.reader import ClipAudio
from earful.data.labels.labels_csv import Clip
from earful.training.data_quality.duplicates import check_copies, check_speakers, one_of_each
from earful.training.data_quality.file_checks import check_files
from earful.training.data_quality.measure_clip import (
    FRAMES,
    PICTURE,
    Sound,
    flat_share,
    measure,
    picture,
)
from tests.fixtures.synthetic_audio import PITCHES_HZ, RATE_HZ, Waveform, noise, tone


def measured_clip(sound: Waveform, label: str = "mid", line: int = 2, rate_hz: int = RATE_HZ) -> Sound:
    clip = Clip(line, f"{line}.wav", Path(f"{line}.wav"), label)
    return measure(clip, ClipAudio(sound, "", rate_hz))


def findings_of(sounds: Sequence[Sound]) -> list[tuple[str, int]]:
    return [(finding.code, finding.line) for finding in check_files(sounds)]


@pytest.fixture
def normal_clips() -> list[Sound]:
    """Twenty clips of three labels, half a second or so each: nothing is wrong with them."""
    labels = list(PITCHES_HZ)
    return [
        measured_clip(tone(labels[n % 3], 0.4 + 0.01 * n) + noise(0.4 + 0.01 * n, 0.001, n),
              labels[n % 3], n + 2)
        for n in range(20)
    ]  # fmt: skip


def test_normal_clips_have_no_findings(normal_clips: list[Sound]) -> None:
    assert findings_of(normal_clips) == []
    assert check_copies(normal_clips) == []
    assert one_of_each(normal_clips) == normal_clips


def test_each_defect_is_reported_with_its_line(normal_clips: list[Sound]) -> None:
    odd = [
        measured_clip(np.zeros(4_000, np.float32), line=100),
        measured_clip(np.full(4_000, 0.5, np.float32), line=101),  # an offset alone is silence
        measured_clip(np.clip(3 * tone("mid", 0.5, 0.5), -0.9, 0.9), line=102),
        measured_clip(tone("mid", 0.04), line=103),
        measured_clip(tone("mid", 0.08), line=104),
        measured_clip(tone("mid", 9.0), line=105),
        measured_clip(tone("mid", 0.5) + np.float32(0.1), line=106),
        measured_clip(tone("mid", 0.5, rate_hz=16_000), line=107, rate_hz=16_000),
        measured_clip(noise(0.5, 1e-5), line=108),
    ]
    assert sorted(findings_of([*normal_clips, *odd])) == [
        ("clipped", 102), ("dc_offset", 101), ("dc_offset", 106), ("long_clip", 105),
        ("mixed_rates", 0), ("short_clip", 103), ("short_clip", 104), ("silent", 100),
        ("silent", 101), ("silent", 108),
    ]  # fmt: skip


def test_silence_is_accepted_when_a_label_means_silence(normal_clips: list[Sound]) -> None:
    nothing = np.zeros(4_000, np.float32)
    assert findings_of([*normal_clips, measured_clip(nothing, "_silence_", 100)]) == []
    assert findings_of([*normal_clips, *(measured_clip(nothing, "stille", 100 + n) for n in range(3))]) == []
    assert check_copies([measured_clip(nothing, "a", 2), measured_clip(nothing, "b", 3)]) == []


def test_sample_rate_that_reveals_the_label_is_a_warning(normal_clips: list[Sound]) -> None:
    high = [measured_clip(tone("high", 0.5, rate_hz=16_000), "high", 100 + n, 16_000) for n in range(6)]
    others = [sound for sound in normal_clips if sound.clip.label != "high"]
    found = check_files([*others, *high])
    assert [(f.code, f.label, f.severity) for f in found] == [
        ("rate_tells_label", "high", "warning"), ("mixed_rates", "", "note"),
    ]  # fmt: skip


def test_loud_sound_is_not_clipped_and_quiet_steps_are_not_either() -> None:
    assert flat_share(tone("low", 0.5, 0.75)) < 0.005
    assert flat_share(np.sign(noise(0.5, 1.0)) * np.float32(0.01)) == 0
    assert flat_share(np.clip(2 * tone("low", 0.5, 0.75), -1, 1)) > 0.2


@pytest.mark.parametrize("n", [1, 7, 400, 80_000])
def test_thumbnail_has_a_fixed_size_and_ignores_level_and_padding(n: int) -> None:
    sound = noise(n / RATE_HZ, 0.1)
    assert picture(sound).shape == (2, FRAMES * PICTURE.n_mels)
    np.testing.assert_allclose(picture(sound), picture(sound / 8), atol=0.05)


def test_thumbnail_ignores_the_surrounding_silence() -> None:
    word = tone("mid", 0.5, rate_hz=16_000)
    alone, late = picture(word), picture(np.pad(word, (9_000, 4_000)))
    other = picture(tone("high", 0.5, rate_hz=16_000))
    assert np.abs(alone - late).mean() < 0.2 * np.abs(alone - other).mean()


def test_duplicates_are_found_by_their_audio(normal_clips: list[Sound]) -> None:
    first, second, third = normal_clips[:3]

    def copy(of: Sound, line: int, **changes: str) -> Sound:
        return replace(of, clip=replace(of.clip, line=line, filename=f"{line}.flac", **changes))

    same, renamed = copy(first, 100), copy(second, 101, label="other")
    train = replace(third, clip=replace(third.clip, split="train"))
    test = copy(third, 102, split="test")
    sounds = [first, second, train, *normal_clips[3:], same, renamed, test]
    assert [(f.code, f.line, f.severity) for f in check_copies(sounds)] == [
        ("duplicate", 100, "warning"),
        ("conflicting_labels", second.clip.line, "error"), ("conflicting_labels", 101, "error"),
        ("leaked_audio", train.clip.line, "error"), ("leaked_audio", 102, "error"),
    ]  # fmt: skip
    unique_lines = {sound.clip.line for sound in one_of_each(sounds)}
    assert unique_lines == {s.clip.line for s in normal_clips} - {second.clip.line}


def test_speakers_in_several_splits_are_reported() -> None:
    def clip(line: int, speaker: str, split: str) -> Clip:
        return Clip(line, f"{line}.wav", Path("x"), "a", speaker, split)

    found = check_speakers(
        [
            clip(2, "ann", "train"), clip(3, "ann", "test"), clip(4, "ann", "train"),
            clip(5, "bob", "train"), clip(6, "bob", "val"), clip(7, "eve", "test"),
            clip(8, "", "train"), clip(9, "", "test"),
        ]
    )  # fmt: skip
    assert [(f.line, f.severity, f.message) for f in found] == [
        (2, "warning", "speaker 'ann': 2 clips in train, 1 clip in test"),
        (5, "note", "speaker 'bob': 1 clip in train, 1 clip in val"),
    ]
