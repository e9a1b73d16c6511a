"""Modules around a network: normalisation by training statistics, softmax, sigmoid, calibration."""

import pytest
import torch

from earful.data.features.config import FeatureConfig
from earful.data.features.encoder_config import feature_shape
from earful.data.features.frontend import Frontend
from earful.data.features.kinds import PREPARED_KINDS, FeatureKind
from earful.models.layers.base import Network
from earful.models.layers.normalise import (
    MIN_STD,
    NormalisedNetwork,
    WaveformClassifier,
)
from earful.models.networks.zoo import build_network

FEATURES = FeatureConfig.for_rate(8_000)
N_LABELS = 4


def network(kind: FeatureKind = "mfcc") -> Network:
    torch.manual_seed(3)
    return build_network("cnn", *feature_shape(FEATURES, kind), N_LABELS, {}).eval()


def raw_features(batch: int = 6) -> torch.Tensor:
    """Each bin with a mean and a spread of its own."""
    generator = torch.Generator().manual_seed(4)
    noise = torch.randn(batch, FEATURES.n_mfcc, FEATURES.frames, generator=generator)
    scale = torch.arange(1, FEATURES.n_mfcc + 1).reshape(-1, 1)
    return noise * scale - 20 * scale


def waveforms(batch: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(5)
    return 0.1 * torch.randn(batch, FEATURES.clip_samples, generator=generator)


def test_normalising_by_the_features_own_statistics_gives_mean_0_and_std_1() -> None:
    x = raw_features()
    mean, std = x.mean((0, 2)), x.std((0, 2), correction=0)
    y = NormalisedNetwork(network(), mean, std).normalise(x)
    torch.testing.assert_close(y.mean((0, 2)), torch.zeros(FEATURES.n_mfcc), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        y.std((0, 2), correction=0), torch.ones(FEATURES.n_mfcc), atol=1e-4, rtol=0
    )


def test_constant_bin_is_not_amplified() -> None:
    zeros = torch.zeros(FEATURES.n_mfcc)
    x = torch.full((1, FEATURES.n_mfcc, FEATURES.frames), 0.5)
    y = NormalisedNetwork(network(), zeros, zeros).normalise(x)
    assert float(y.max()) == pytest.approx(0.5 / MIN_STD)


def test_statistics_are_saved_with_the_weights() -> None:
    mean, std = torch.arange(40.0), torch.arange(40.0) + 1
    saved = NormalisedNetwork(network(), mean, std).state_dict()
    fresh = NormalisedNetwork(network(), torch.zeros(40), torch.ones(40))
    fresh.load_state_dict(saved)
    torch.testing.assert_close(fresh.mean, mean.reshape(-1, 1))
    torch.testing.assert_close(fresh.std, std.reshape(-1, 1))


@pytest.mark.parametrize("kind", PREPARED_KINDS)
def test_a_waveform_goes_through_front_end_normalisation_network_and_softmax(
    kind: FeatureKind,
) -> None:
    bins = feature_shape(FEATURES, kind)[0]
    classifier = NormalisedNetwork(network(kind), torch.full((bins,), -40.0), torch.ones(bins) * 9)
    whole = WaveformClassifier(
        FEATURES, kind, classifier, temperature=1.0, score_kind="softmax"
    ).eval()
    with torch.inference_mode():
        probabilities, embedding = whole(waveforms())
        logits = classifier(Frontend(FEATURES)(waveforms(), kind))
        torch.testing.assert_close(probabilities, torch.softmax(logits, dim=1))
        torch.testing.assert_close(classifier.network.head(embedding), logits)
    assert probabilities.shape == (3, N_LABELS)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_temperature_divides_the_logits(temperature: float) -> None:
    classifier = NormalisedNetwork(network(), torch.zeros(40), torch.ones(40))
    plain = WaveformClassifier(
        FEATURES, "mfcc", classifier, temperature=1.0, score_kind="softmax"
    ).eval()
    scaled = WaveformClassifier(
        FEATURES, "mfcc", classifier, temperature=temperature, score_kind="softmax"
    ).eval()
    with torch.inference_mode():
        expected, probabilities = plain(waveforms())[0], scaled(waveforms())[0]
    expected_differences = torch.log(expected[:, :1] / expected)  # differences of the logits
    differences = torch.log(probabilities[:, :1] / probabilities) * temperature
    torch.testing.assert_close(differences, expected_differences)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(3))


def test_sigmoid_scores_are_independent_per_label() -> None:
    classifier = NormalisedNetwork(network(), torch.zeros(40), torch.ones(40)).eval()
    whole = WaveformClassifier(FEATURES, "mfcc", classifier, 2.0, "sigmoid").eval()
    with torch.inference_mode():
        probabilities, _ = whole(waveforms())
        logits = classifier(whole.extractor(waveforms()))
    torch.testing.assert_close(probabilities, 1 / (1 + torch.exp(-logits / 2)))
