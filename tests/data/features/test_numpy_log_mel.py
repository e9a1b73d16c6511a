"""The numpy log-mel equals the torch front end."""

import numpy as np
import pytest
import torch

from earful.data.features.config import FeatureConfig
from earful.data.features.frontend import Frontend
from earful.data.features.numpy_log_mel import log_mel


@pytest.mark.parametrize(
    "config",
    [
        FeatureConfig(),
        FeatureConfig.for_rate(8_000, 0.4),
        FeatureConfig(16_000, 1.0, 512, 400, 160, 40, 13, 0.0, 8_000.0),
        FeatureConfig(16_000, 0.5, 512, 401, 160, 40, 40, 20.0, 7_600.0),
    ],
)
def test_numpy_log_mel_matches_the_torch_frontend(config: FeatureConfig) -> None:
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, config.clip_samples).astype(np.float32)
    waveform[: config.clip_samples // 3] = 0
    from_numpy = log_mel(waveform, config)
    frontend = Frontend(config, torch.float64)
    from_torch = frontend(torch.from_numpy(waveform[None].astype(np.float64)), "log_mel")[0].T
    np.testing.assert_allclose(from_numpy, from_torch.numpy(), atol=1e-3)


def test_any_length_gives_frames() -> None:
    config = FeatureConfig()
    assert log_mel(np.zeros(1, np.float32), config).shape == (1, 40)
    assert log_mel(np.zeros(5 * 16_000, np.float32), config).shape == (313, 40)
