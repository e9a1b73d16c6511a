"""The speech encoder: one pass equals its windows, telephone recordings, and its bad input."""

from pathlib import Path

import numpy as np
import pytest
import torch

from earful.data.errors import EarfulError
from earful.data.features.config import FeatureConfig, FeatureError
from earful.data.features.encoder_config import encoder_features, feature_shape
from earful.data.features.extractor import FeatureExtractor
from earful.models.layers import speech_encoder
from earful.models.layers.speech_encoder import HOP_FRAMES, WINDOW_FRAMES, load_speech_encoder

WIDE = FeatureConfig()
NARROW = FeatureConfig.for_rate(8_000)


def chirp(rate_hz: int, seconds: float = 1.0) -> torch.Tensor:
    """A tone from 200 to 3,000 Hz with a swelling loudness, (1, samples)."""
    time = np.arange(round(seconds * rate_hz)) / rate_hz
    phase = 2 * np.pi * (200 * time + 1_400 * time**2 / seconds)
    return torch.from_numpy((0.3 * np.sin(np.pi * time / seconds) * np.sin(phase))[None]).float()


def vectors(config: FeatureConfig, waveform: torch.Tensor) -> torch.Tensor:
    encoder = load_speech_encoder(*feature_shape(config, "encoder")).eval()
    with torch.inference_mode():
        result: torch.Tensor = encoder(FeatureExtractor(config, "encoder")(waveform))
    return result


def test_one_pass_equals_windows_of_76_frames_every_8() -> None:
    log_mel = FeatureExtractor(WIDE, "encoder")(chirp(16_000))
    encoder = load_speech_encoder(*log_mel.shape[1:]).eval()
    with torch.inference_mode():
        whole = encoder(log_mel)[0].T
        windows = log_mel[0].unfold(1, WINDOW_FRAMES, HOP_FRAMES).transpose(0, 1)
        alone = encoder(windows)[:, :, 0]
    assert whole.shape == alone.shape == (14, 96)
    torch.testing.assert_close(whole, alone, rtol=0, atol=1e-3)


def test_the_parameters_are_those_of_the_paper() -> None:
    encoder = load_speech_encoder(32, 181)
    assert sum(weights.numel() for weights in encoder.parameters()) == 328_128


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_a_recording_gives_the_same_vectors_at_any_rate(rate_hz: int) -> None:
    config = FeatureConfig.for_rate(rate_hz)
    expected, found = vectors(WIDE, chirp(16_000)), vectors(config, chirp(rate_hz))
    scale = float(expected.abs().mean())
    n = min(expected.shape[2], found.shape[2])
    assert abs(expected.shape[2] - found.shape[2]) <= 1
    assert float((expected[..., :n] - found[..., :n]).abs().mean()) < 0.1 * scale


def test_training_and_evaluation_compute_the_same() -> None:
    log_mel = FeatureExtractor(NARROW, "encoder")(chirp(8_000))
    encoder = load_speech_encoder(*log_mel.shape[1:])
    with torch.inference_mode():
        torch.testing.assert_close(encoder.train()(log_mel), encoder.eval()(log_mel))


def test_a_long_clip_gives_a_vector_every_80_ms() -> None:
    config = FeatureConfig.for_rate(8_000, clip_seconds=5.0)
    assert encoder_features(config).frames == 581
    assert vectors(config, chirp(8_000, 5.0)).shape == (1, 96, 1 + (581 - 76) // 8)


def test_a_rate_that_holds_too_little_is_refused() -> None:
    with pytest.raises(FeatureError, match=r"needs clips of 7600 Hz or more, found 6000"):
        encoder_features(FeatureConfig.for_rate(6_000))


def test_features_of_another_front_end_are_refused() -> None:
    with pytest.raises(EarfulError, match="takes its own log-mel of 32 bands"):
        load_speech_encoder(40, 63)


def test_damaged_weights_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "weights.npz"
    broken.write_bytes(b"PK\x03\x04")
    monkeypatch.setattr(speech_encoder, "WEIGHTS", broken)
    with pytest.raises(EarfulError, match="missing or damaged"):
        load_speech_encoder(32, 181)
