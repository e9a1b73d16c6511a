"""FeatureConfig rejects inconsistent values and survives JSON; its matrices equal librosa's."""

import json
from typing import Any

import librosa
import numpy as np
import pytest
import torchaudio.functional

from earful.data.features.config import FeatureConfig, FeatureError, mel_filters


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"n_fft": 511, "win_length": 400}, "n_fft must be even, found 511"),
        ({"n_fft": 256}, "win_length 512 exceeds n_fft 256"),
        ({"hop_length": 513}, "hop_length 513 exceeds win_length 512"),
        ({"n_mfcc": 41}, "n_mfcc 41 exceeds n_mels 40"),
        ({"f_max_hz": 8000.5}, "f_max_hz 8000.5 must satisfy .* <= 8000 "),
        ({"sample_rate_hz": 8000}, "<= 4000 "),
        ({"f_min_hz": 8000.0}, "f_min_hz 8000"),
        ({"f_min_hz": -1.0}, "f_min_hz -1"),
        ({"clip_seconds": 0.03}, "clip_seconds 0.03 is 480 samples, shorter than one window"),
        ({"n_mels": 200}, "3 of 200 mel filters are empty"),
        *[
            ({name: value}, f"{name} must be")
            for name in FeatureConfig().to_dict()
            for value in (None, "1", True, float("nan"), float("inf"))
        ],
        *[
            ({name: 0}, f"{name} must be above 0")
            for name in FeatureConfig().to_dict()
            if name != "f_min_hz"
        ],
        *[
            ({name: 64.0}, f"{name} must be a whole number")
            for name in ("sample_rate_hz", "n_fft", "win_length", "hop_length", "n_mels", "n_mfcc")
        ],
    ],
)
def test_inconsistent_configuration_is_refused_by_field(values: dict[str, Any], named: str) -> None:
    with pytest.raises(FeatureError, match=named):
        FeatureConfig(**values)


def test_configuration_survives_json() -> None:
    config = FeatureConfig.for_rate(11_025, clip_seconds=1.5)
    assert FeatureConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    "stored",
    [
        None,
        [],
        "x",
        {},
        FeatureConfig().to_dict() | {"extra": 1},
        {k: v for k, v in FeatureConfig().to_dict().items() if k != "n_fft"},
        FeatureConfig().to_dict() | {"n_fft": "512"},
    ],
    ids=["null", "list", "text", "empty", "unknown", "missing", "wrong"],
)
def test_stored_configuration_must_be_complete_and_valid(stored: Any) -> None:
    with pytest.raises(FeatureError):
        FeatureConfig.from_dict(stored)


@pytest.mark.parametrize(
    "rate_hz", [4_000, 6_000, 8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000]
)
def test_every_accepted_rate_has_a_default(rate_hz: int) -> None:
    config = FeatureConfig.for_rate(rate_hz)
    assert 0.025 <= config.n_fft / rate_hz < 0.05
    assert config.f_max_hz <= rate_hz / 2


def test_default_configuration_is_for_16_khz() -> None:
    assert FeatureConfig.for_rate(16_000) == FeatureConfig()


@pytest.mark.parametrize(
    ("rate_hz", "n_fft", "n_mels", "f_min_hz", "f_max_hz"),
    [
        (16_000, 512, 40, 20.0, 8_000.0),
        (8_000, 256, 40, 0.0, 4_000.0),
        (22_050, 2048, 128, 0.0, 11_025.0),
        (11_025, 512, 40, 20.0, 5_512.5),
        (16_000, 1024, 64, 50.0, 900.0),  # entirely in the linear part of the mel scale
        (48_000, 2048, 20, 1_500.0, 20_000.0),  # entirely in the logarithmic part
    ],
)
def test_mel_filters_match_librosa(
    rate_hz: int, n_fft: int, n_mels: int, f_min_hz: float, f_max_hz: float
) -> None:
    config = FeatureConfig(
        sample_rate_hz=rate_hz,
        n_fft=n_fft,
        win_length=n_fft,
        n_mels=n_mels,
        n_mfcc=13,
        f_min_hz=f_min_hz,
        f_max_hz=f_max_hz,
    )
    expected = librosa.filters.mel(
        sr=rate_hz, n_fft=n_fft, n_mels=n_mels, fmin=f_min_hz, fmax=f_max_hz, dtype=np.float64
    )
    np.testing.assert_allclose(mel_filters(config), expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 44_100])
def test_mel_filters_match_those_of_torchaudio_in_float32(rate_hz: int) -> None:
    config = FeatureConfig.for_rate(rate_hz)
    expected = torchaudio.functional.melscale_fbanks(
        1 + config.n_fft // 2,
        config.f_min_hz,
        config.f_max_hz,
        config.n_mels,
        rate_hz,
        norm="slaney",
        mel_scale="slaney",
    )
    filters = mel_filters(config)
    np.testing.assert_allclose(filters.T, expected.numpy(), rtol=0, atol=1e-5 * filters.max())
