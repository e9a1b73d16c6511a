"""Spectrograms of clips in HTML reports."""

import base64
import io

import numpy as np
import pytest
from matplotlib.image import imread
from numpy.typing import NDArray

from earful.training.reports.html_clips import _spectrogram_uri, waveform_media

RATE_HZ = 16_000


def pixels(uri: str) -> NDArray[np.float32]:
    """Brightness (rows, columns) of a PNG data URI, from the top."""
    png = base64.b64decode(uri.removeprefix("data:image/png;base64,"))
    return np.asarray(imread(io.BytesIO(png), format="png")[..., :3].sum(axis=2), np.float32)


def tone(hz: float, seconds: float) -> NDArray[np.float32]:
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return np.asarray(0.5 * np.sin(2 * np.pi * hz * time), np.float32)


@pytest.mark.parametrize("source_rate_hz", [8_000, 16_000])
@pytest.mark.parametrize("seconds", [0.2, 1.0, 5.0])
def test_tone_is_the_brightest_row_up_to_nyquist_of_the_source(
    seconds: float, source_rate_hz: int
) -> None:
    image = pixels(_spectrogram_uri(tone(1_000, seconds), RATE_HZ, source_rate_hz))
    assert image.shape == (96, 256)
    height = 1 - (image.mean(axis=1).argmax() + 0.5) / len(image)
    assert height == pytest.approx(1_000 / (source_rate_hz / 2), abs=0.02)


def test_sound_is_brighter_than_the_silence_after_it() -> None:
    image = pixels(waveform_media(np.pad(tone(1_000, 1.0), (0, RATE_HZ)), RATE_HZ).spectrogram)
    brightness = image.max(axis=0)
    assert brightness[:124].min() > brightness[132:].max()


@pytest.mark.parametrize("samples", [1, 255, 257])
def test_shortest_and_silent_clips_have_a_picture(samples: int) -> None:
    image = pixels(waveform_media(np.zeros(samples, np.float32), RATE_HZ).spectrogram)
    assert image.shape == (96, 256)
