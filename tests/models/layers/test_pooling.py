"""Pooled features equal numpy's statistics, and deltas equal librosa's."""

import librosa
import numpy as np
import torch

from earful.models.layers.pooling import deltas, pooled_functionals, pooled_size


def test_deltas_equal_those_of_librosa() -> None:
    features = np.random.default_rng(1).standard_normal((2, 7, 30)).astype(np.float32)
    expected = librosa.feature.delta(features, width=5, mode="nearest")
    np.testing.assert_allclose(deltas(torch.from_numpy(features)), expected, atol=1e-5)


def test_delta_of_a_ramp_is_its_slope() -> None:
    slope = 0.25 * torch.arange(20.0).reshape(1, 1, -1)
    torch.testing.assert_close(deltas(slope)[..., 2:-2], torch.full((1, 1, 16), 0.25))


def test_pooled_features_are_five_functionals_of_each_bin() -> None:
    features = torch.randn(3, 4, 20, generator=torch.Generator().manual_seed(1))
    pooled = pooled_functionals(features).reshape(3, 5, 4).numpy()
    x = features.numpy()
    expected = [x.mean(2), x.std(2), x.min(2), x.max(2), deltas(features).numpy().std(2)]
    np.testing.assert_allclose(pooled, np.stack(expected, axis=1), atol=1e-5)
    assert pooled_functionals(features).shape == (3, pooled_size(4))


def test_constant_features_have_a_finite_gradient() -> None:
    silence = torch.full((1, 4, 20), -3.0, requires_grad=True)
    pooled_functionals(silence).sum().backward()
    assert silence.grad is not None
    assert torch.isfinite(silence.grad).all()
