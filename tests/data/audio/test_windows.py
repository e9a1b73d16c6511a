"""Padding keeps every sample, cropping finds the loud word, windows cover everything."""

import numpy as np
import pytest
from numpy.typing import NDArray

from earful.data.audio.windows import loudest_clip, loudest_start, pad_to_clip, window_starts

CLIP = 800


def noise(n_samples: int, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).uniform(-1, 1, n_samples).astype(np.float32)


@pytest.mark.parametrize("n_samples", [1, 2, 399, 799, 800])
def test_short_waveform_is_centred_in_zeros(n_samples: int) -> None:
    waveform = noise(n_samples)
    clip = pad_to_clip(waveform, CLIP)
    before = (CLIP - n_samples) // 2
    assert (clip.shape, clip.dtype) == ((CLIP,), np.float32)
    np.testing.assert_array_equal(clip[before : before + n_samples], waveform)
    assert np.count_nonzero(clip) == np.count_nonzero(waveform)


@pytest.mark.parametrize("n_samples", [1, 799, 800, 801, 863, 2000, 8001])
def test_loudest_clip_is_one_segment_of_the_waveform(n_samples: int) -> None:
    waveform = noise(n_samples)
    before = waveform.copy()
    clip = loudest_clip(waveform, CLIP)
    assert len(clip) == CLIP
    if n_samples >= CLIP:
        segments = np.lib.stride_tricks.sliding_window_view(waveform, CLIP)
        assert (segments == clip).all(axis=1).any()
    np.testing.assert_array_equal(waveform, before)


def test_clip_does_not_keep_its_recording_in_memory() -> None:
    assert loudest_clip(noise(5000), CLIP).base is None


@pytest.mark.parametrize("middle", [400, 777, 2000, 3333, 4600])
def test_word_in_a_long_recording_is_centred(middle: int) -> None:
    waveform = 0.01 * noise(5000)
    waveform[middle - 100 : middle + 100] += noise(200, seed=1)
    start = loudest_start(waveform, CLIP)
    assert abs(start + CLIP // 2 - middle) <= 2 * CLIP // 64


def test_word_at_the_edge_is_kept_whole() -> None:
    for edge in (slice(0, 100), slice(4900, 5000)):
        waveform = np.zeros(5000, np.float32)
        waveform[edge] = noise(100) + 2
        assert np.count_nonzero(loudest_clip(waveform, CLIP)) == 100


@pytest.mark.parametrize("level", [0.0, 1e-30, 100.0])
def test_uniform_loudness_gives_the_middle(level: float) -> None:
    start = loudest_start(np.full(8000, level, np.float32), CLIP)
    assert abs(start - (8000 - CLIP) / 2) <= CLIP / 64 + 1


@pytest.mark.parametrize("clip_samples", [5, 63, 64, 100])
def test_very_short_clips_are_supported(clip_samples: int) -> None:
    waveform = np.zeros(1000, np.float32)
    waveform[700] = 1
    assert loudest_clip(waveform, clip_samples).sum() == 1


@pytest.mark.parametrize("n_samples", [1, 800, 801, 1000, 1600, 5000])
@pytest.mark.parametrize("hop", [1, 200, 799, 800])
def test_windows_cover_every_sample_and_end_with_the_waveform(n_samples: int, hop: int) -> None:
    starts = window_starts(n_samples, CLIP, hop)
    covered = np.zeros(max(n_samples, CLIP), bool)
    for start in starts:
        covered[start : start + CLIP] = True
    assert covered.all()
    assert starts[0] == 0
    assert starts[-1] + CLIP == max(n_samples, CLIP)
    assert (np.diff(starts) > 0).all()
    assert (np.diff(starts) <= hop).all()


def test_waveform_of_one_clip_is_one_window() -> None:
    assert [window_starts(n, CLIP, 400).tolist() for n in (1, 799, 800)] == [[0], [0], [0]]


@pytest.mark.parametrize("disturbance", ["click", "hum"])
def test_word_outweighs_a_louder_click_or_hum(disturbance: str) -> None:
    """A word of 0.4 s in three seconds; a full-scale click of 20 ms, or hum that grows louder."""
    rng = np.random.default_rng(4)
    recording = np.zeros(24_000, np.float32)
    recording[3_000:6_200] = 0.1 * rng.standard_normal(3_200)
    if disturbance == "click":
        recording[20_000:20_160] = np.sign(rng.standard_normal(160))
    else:
        time = np.arange(24_000) / 8_000
        recording += (0.03 * time * np.sin(2 * np.pi * 50 * time)).astype(np.float32)
    start = loudest_start(recording, 8_000)
    assert start <= 3_000
    assert start + 8_000 >= 6_200
