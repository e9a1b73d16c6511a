"""Where sounds begin and end, in silence and in noise."""

import numpy as np
import pytest

from earful.data.audio.decode import Waveform
from earful.data.audio.sound_windows import ContinuousWindow, SoundWindower, SoundWindows
from earful.data.audio.sounds import FRAME_SECONDS, SoundFinder
from tests.fixtures.synthetic_audio import RATE_HZ, noise, overlay_at, tone

CLIP_SAMPLES = RATE_HZ


def find_sounds(samples: Waveform, clip_seconds: float = 1.0) -> list[tuple[float, float]]:
    """Start and end in seconds of each sound."""
    finder = SoundFinder(RATE_HZ, clip_seconds)
    found = [*finder.feed(samples).sounds, *finder.finish().sounds]
    return [(sound.first * FRAME_SECONDS, sound.last * FRAME_SECONDS) for sound in found]


def cut(samples: Waveform) -> list[SoundWindows | ContinuousWindow]:
    windower = SoundWindower(RATE_HZ, CLIP_SAMPLES, [0])
    return [*windower.feed(samples), *windower.finish()]


@pytest.mark.parametrize("level", [0.0, 1e-4, 0.003, 0.03, 0.1])
def test_a_sound_is_found_at_its_time_in_any_noise(level: float) -> None:
    [(start, end)] = find_sounds(overlay_at(tone("mid"), 3.0, noise(6.0, level)))
    assert (start, end) == pytest.approx((3.0, 3.4), abs=0.05)


def test_noise_alone_has_no_sounds() -> None:
    for level in (1e-4, 0.003, 0.1):
        assert find_sounds(noise(60.0, level, seed=5)) == []


def test_noise_that_lasts_becomes_the_background() -> None:
    """Of 30 dB more noise from 5 s on, the first two seconds are a sound; words after it are."""
    louder = np.concatenate([noise(5.0, 0.001), noise(10.0, 0.03)])
    sounds = find_sounds(overlay_at(tone("low"), 10.0, louder))
    assert sounds[0][0] == pytest.approx(5.0, abs=0.05)
    assert sounds[0][1] < 7.0
    assert sounds[-1] == pytest.approx((10.0, 10.4), abs=0.05)


def test_pauses_grow_with_the_clips_that_a_model_takes() -> None:
    barks = noise(8.0, 1e-4)
    for start in (3.0, 3.6, 4.2):
        barks = overlay_at(tone("mid"), start, barks)
    assert len(find_sounds(barks)) == 3
    [(start, end)] = find_sounds(barks, clip_seconds=5.0)
    assert (start, end) == pytest.approx((3.0, 4.6), abs=0.05)


def test_a_window_has_its_sound_in_the_middle_and_not_its_neighbours() -> None:
    background = noise(6.0, 0.001)
    sound = overlay_at(tone("low"), 3.0, overlay_at(tone("high"), 3.6, background))
    low, high = cut(sound)
    assert isinstance(low, SoundWindows)
    assert isinstance(high, SoundWindows)
    first = (low.start + low.end) // 2 - CLIP_SAMPLES // 2
    own = slice(low.start - first, low.end - first)
    np.testing.assert_array_equal(low.clips[0][own], sound[first:][own])
    assert own.start == pytest.approx(CLIP_SAMPLES - own.stop, abs=1)
    neighbour = slice(round(3.65 * RATE_HZ) - first, CLIP_SAMPLES)
    assert np.abs(low.clips[0][neighbour]).max() < 0.01  # the background of this recording
    assert np.abs(low.clips[0][neighbour]).max() > 0.001


def test_windows_of_continuous_sound_are_the_samples_as_they_are() -> None:
    sound = noise(8.0, 0.1)
    windows = cut(sound)
    assert len(windows) == 15
    for window in windows:
        assert isinstance(window, ContinuousWindow)
        part = sound[window.start : window.start + CLIP_SAMPLES]
        np.testing.assert_array_equal(window.clips[0], part)


def test_silence_has_no_windows() -> None:
    assert cut(np.zeros(5 * RATE_HZ, np.float32)) == []
    assert cut(np.zeros(0, np.float32)) == []
    assert cut(noise(5.0, 1e-4)) == []


def test_what_is_kept_does_not_grow_with_the_recording() -> None:
    windower = SoundWindower(RATE_HZ, CLIP_SAMPLES, [-800, 0, 800])
    for second in range(120):
        sound = overlay_at(tone("mid"), 0.2, noise(1.0, 0.003, seed=second))
        list(windower.feed(sound))
        kept = windower._samples.nbytes
        assert kept < 10 * CLIP_SAMPLES * 4
