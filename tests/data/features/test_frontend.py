"""The front end against librosa, over a grid of configurations and signals."""

import librosa
import numpy as np
import pytest
import torch
import torchaudio.functional
from numpy.typing import NDArray

from earful.data.features.config import FeatureConfig, mel_filters
from earful.data.features.encoder_config import feature_shape
from earful.data.features.extractor import FeatureExtractor
from earful.data.features.frontend import Frontend
from earful.data.features.kinds import FEATURE_KINDS, PREPARED_KINDS, FeatureKind
from tests.fixtures.claimed_cuda import CUDA, claimed_cuda, values_of

TOLERANCE_DB = 1e-3


@pytest.mark.parametrize("kind", FEATURE_KINDS)
def test_features_are_computed_where_the_waveforms_are(kind: FeatureKind) -> None:
    config = FeatureConfig.for_rate(16_000, clip_seconds=0.5)
    waveforms = 0.1 * torch.sin(torch.arange(3.0 * config.clip_samples)).reshape(3, -1)
    extractor = FeatureExtractor(config, kind)
    expected = extractor(waveforms)
    with claimed_cuda():
        features = FeatureExtractor(config, kind).to(CUDA)(waveforms.to(CUDA))
        assert features.device.type == "cuda"
        with pytest.raises(RuntimeError, match="two different devices"):
            FeatureExtractor(config, "mfcc")(waveforms.to(CUDA))
    torch.testing.assert_close(values_of(features), expected)


def config(
    rate_hz: int,
    seconds: float,
    n_fft: int,
    win: int,
    hop: int,
    bins: tuple[int, int],
    band_hz: tuple[float, float],
) -> FeatureConfig:
    return FeatureConfig(rate_hz, seconds, n_fft, win, hop, *bins, *band_hz)


GRID = [
    FeatureConfig(),
    FeatureConfig.for_rate(8_000),
    FeatureConfig.for_rate(11_025, clip_seconds=0.7),
    FeatureConfig.for_rate(44_100),
    config(16_000, 1.0, 512, 400, 160, (40, 13), (0.0, 8_000.0)),
    config(16_000, 1.0, 512, 401, 160, (40, 40), (20.0, 7_600.0)),  # odd window, coprime to the hop
    config(16_000, 0.9999, 512, 399, 100, (32, 20), (60.0, 7_000.0)),
    config(22_050, 1.5, 2_048, 2_048, 512, (128, 20), (0.0, 11_025.0)),
    config(8_000, 0.1, 256, 200, 200, (20, 20), (300.0, 3_400.0)),  # windows without overlap
    config(8_000, 0.032, 256, 256, 7, (8, 8), (0.0, 4_000.0)),  # a clip of one window
    config(16_000, 0.1, 1_024, 2, 1, (1, 1), (100.0, 4_000.0)),  # the shortest window
]


def signals(config: FeatureConfig) -> dict[str, NDArray[np.float64]]:
    rng = np.random.default_rng(11)
    n_samples = config.clip_samples
    time = np.arange(n_samples) / config.sample_rate_hz
    noise = rng.uniform(-1, 1, n_samples)
    voice = sum(np.sin(2 * np.pi * 140 * k * time) / k for k in range(1, 20))
    syllables = 0.5 + 0.5 * np.sin(2 * np.pi * 4 * time)
    click = np.zeros(n_samples)
    click[n_samples // 3] = 1.0
    return {
        "noise": 0.5 * noise,
        "speech-like": 0.2 * np.asarray(voice) * syllables + 5e-3 * noise,
        "tone": np.sin(2 * np.pi * 0.11 * config.sample_rate_hz * time),
        "click": click,
        "quiet": 1e-4 * noise,
        "constant": np.ones(n_samples),
        "silence": np.zeros(n_samples),
    }


def librosa_features(
    waveform: NDArray[np.float64], config: FeatureConfig
) -> dict[FeatureKind, NDArray[np.float64]]:
    mel = librosa.feature.melspectrogram(
        y=waveform,
        sr=config.sample_rate_hz,
        n_fft=config.n_fft,
        win_length=config.win_length,
        hop_length=config.hop_length,
        n_mels=config.n_mels,
        fmin=config.f_min_hz,
        fmax=config.f_max_hz,
        pad_mode="constant",
    )
    log_mel = librosa.power_to_db(mel, ref=1.0, top_db=None)
    return {
        "log_mel": log_mel,
        "mfcc": librosa.feature.mfcc(S=log_mel, n_mfcc=config.n_mfcc),
    }


def features(
    waveform: NDArray[np.floating], config: FeatureConfig, kind: FeatureKind, dtype: torch.dtype
) -> NDArray[np.floating]:
    batch = torch.from_numpy(waveform).to(dtype)[None]
    with torch.inference_mode():
        return Frontend(config, dtype)(batch, kind)[0].numpy()


def assert_matches_librosa(
    waveform: NDArray[np.float64], config: FeatureConfig, dtype: torch.dtype
) -> None:
    for kind, expected in librosa_features(waveform, config).items():
        computed = features(waveform, config, kind, dtype)
        assert computed.shape == feature_shape(config, kind)
        np.testing.assert_allclose(computed, expected, rtol=0, atol=TOLERANCE_DB, err_msg=kind)


@pytest.mark.slow
@pytest.mark.parametrize("config", GRID, ids=str)
@pytest.mark.parametrize(
    "name", ["noise", "speech-like", "tone", "click", "quiet", "constant", "silence"]
)
def test_float64_features_match_librosa_for_every_signal(config: FeatureConfig, name: str) -> None:
    assert_matches_librosa(signals(config)[name], config, torch.float64)


@pytest.mark.parametrize("config", GRID, ids=str)
@pytest.mark.parametrize("name", ["noise", "speech-like", "quiet"])
def test_float32_features_match_librosa_for_noise_and_speech(
    config: FeatureConfig, name: str
) -> None:
    assert_matches_librosa(signals(config)[name], config, torch.float32)


@pytest.mark.parametrize(("n_mfcc", "n_mels"), [(1, 1), (13, 40), (40, 40), (20, 128)])
def test_dct_matches_that_of_torchaudio_in_float32(n_mfcc: int, n_mels: int) -> None:
    config = FeatureConfig(n_fft=2_048, win_length=2_048, n_mels=n_mels, n_mfcc=n_mfcc)
    expected = torchaudio.functional.create_dct(n_mfcc, n_mels, norm="ortho").T
    torch.testing.assert_close(Frontend(config).dct, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("config", GRID[:4], ids=str)
def test_tone_is_loudest_in_its_own_mel_bin(config: FeatureConfig) -> None:
    """A tone at the centre of a mel filter, in every frame away from the clip's edges."""
    bins_hz = np.linspace(0, config.sample_rate_hz / 2, config.n_fft // 2 + 1)
    time = np.arange(config.clip_samples) / config.sample_rate_hz
    for mel_bin in range(5, config.n_mels, 6):
        tone = 0.5 * np.sin(2 * np.pi * bins_hz[mel_filters(config)[mel_bin].argmax()] * time)
        loudest = features(tone, config, "log_mel", torch.float32)[:, 2:-2].argmax(axis=0)
        assert (loudest == mel_bin).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_silence_is_minus_100_db(dtype: torch.dtype) -> None:
    config = FeatureConfig()
    silence = features(np.zeros(config.clip_samples), config, "log_mel", dtype)
    np.testing.assert_allclose(silence, -100.0, rtol=1e-6)


def test_tenfold_amplitude_adds_20_db() -> None:
    config = FeatureConfig()
    noise = signals(config)["noise"]
    quiet, loud = (features(gain * noise, config, "log_mel", torch.float64) for gain in (0.1, 1))
    np.testing.assert_allclose(loud - quiet, 20.0, atol=1e-6)


@pytest.mark.parametrize("kind", PREPARED_KINDS)
def test_clip_in_a_batch_equals_the_clip_alone(kind: FeatureKind) -> None:
    config = FeatureConfig.for_rate(8_000)
    batch = np.stack([*signals(config).values()])
    with torch.inference_mode():
        batched = Frontend(config, torch.float64)(torch.from_numpy(batch), kind).numpy()
    for in_batch, waveform in zip(batched, batch, strict=True):
        alone = features(waveform, config, kind, torch.float64)
        np.testing.assert_allclose(in_batch, alone, rtol=0, atol=1e-6)


def test_empty_batch_gives_empty_features() -> None:
    config = FeatureConfig()
    empty = Frontend(config)(torch.zeros(0, config.clip_samples), "mfcc")
    assert empty.shape == (0, config.n_mfcc, config.frames)


def test_gradient_reaches_every_sample_of_the_clip() -> None:
    config = FeatureConfig.for_rate(8_000)
    waveform = torch.from_numpy(signals(config)["noise"])[None].requires_grad_()
    Frontend(config, torch.float64)(waveform, "mfcc").square().sum().backward()
    assert waveform.grad is not None
    assert torch.isfinite(waveform.grad).all()
    assert (waveform.grad != 0).double().mean() > 0.99


def test_frontend_adds_nothing_to_a_checkpoint() -> None:
    assert Frontend(FeatureConfig()).state_dict() == {}
