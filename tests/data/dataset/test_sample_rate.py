"""The rate from what the files hold: their rates, and the highest frequency with sound."""

import numpy as np
import pytest
import soxr

from earful.data.audio.bandwidth import find_bandwidth_hz
from earful.data.dataset.sample_rate import choose_sample_rate


@pytest.mark.parametrize(
    ("rates", "bandwidths", "hz", "reason"),
    [
        ({8_000: 9}, [], 8_000, "files are 8000 Hz"),
        ({11_025: 7, 44_100: 5}, [5000.0], 11_025, "58 % of the files are 11025 Hz"),
        ({16_000: 9}, [7900.0], 16_000, "files are 16000 Hz"),
        ({44_100: 9}, [8300.0], 16_000, "files are 44100 Hz"),
        (
            {44_100: 9},
            [20_000.0],
            16_000,
            "files are 44100 Hz; --sample-rate 32000 --f-max 16000 keeps more",
        ),
        (
            {22_050: 9},
            [10_900.0],
            16_000,
            "files are 22050 Hz; --sample-rate 22050 --f-max 11025 keeps more",
        ),
        ({44_100: 9}, [3_420.0], 8_000, "files are 44100 Hz and hold no sound above 3500 Hz"),
        ({16_000: 9}, [4_200.0], 8_000, "files are 16000 Hz and hold no sound above 4200 Hz"),
        ({16_000: 9}, [4_201.0], 16_000, "files are 16000 Hz"),
        ({16_000: 9}, [3_400.0] * 9 + [7_000.0], 16_000, "files are 16000 Hz"),
        ({4_000: 9}, [], 4_000, "files are 4000 Hz"),
        ({}, [], 16_000, "no rate could be read"),
    ],
)
def test_rate_is_what_the_files_hold(
    rates: dict[int, int], bandwidths: list[float], hz: int, reason: str
) -> None:
    chosen = choose_sample_rate(rates, bandwidths)
    assert (chosen.hz, chosen.reason) == (hz, reason)


def noise(seconds: float, rate_hz: int, level: float = 0.1) -> np.ndarray:
    generator = np.random.default_rng(3)
    samples = generator.standard_normal(round(seconds * rate_hz)) * level
    return samples.astype(np.float32)


def rounded(waveform: np.ndarray) -> np.ndarray:
    """As a 16-bit file holds it."""
    return (np.round(waveform * 32_768) / 32_768).astype(np.float32)


@pytest.mark.parametrize("level", [0.1, 0.003])
def test_a_resampled_telephone_recording_holds_nothing_above_4_khz(level: float) -> None:
    wide = soxr.resample(noise(1.0, 8_000, level), 8_000, 44_100)
    assert 3_600 < find_bandwidth_hz(rounded(wide), 44_100) < 4_200


def test_a_short_hiss_counts() -> None:
    waveform = soxr.resample(noise(3.0, 8_000), 8_000, 16_000)
    waveform[20_000:20_400] += 0.01 * noise(1.0, 16_000, 1.0)[:400]
    assert find_bandwidth_hz(rounded(waveform), 16_000) > 7_500


@pytest.mark.parametrize("n_samples", [0, 1, 1_000, 1_025])
def test_silence_and_few_samples_are_no_error(n_samples: int) -> None:
    assert find_bandwidth_hz(np.zeros(n_samples, np.float32), 16_000) == 0
