"""What ``export --target tflite`` refuses before it converts anything."""

import importlib.util
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch

from earful.data.errors import UsageError
from earful.data.features.config import FeatureConfig
from earful.models.layers.normalise import NormalisedNetwork, WaveformClassifier
from earful.models.networks.bcresnet import SubSpectralNorm
from earful.models.networks.zoo import build_network
from earful.training.api.export import export
from earful.training.export.tflite.graphs import RowAffine, prepare_for_tflite
from earful.training.export.tflite.parity import Parity, check_parity
from earful.training.export.tflite.tflite_error import TfliteError
from earful.training.metrics.paired_accuracy import PairedAccuracy
from tests.training.commands.conftest import Home, RunCommand, earful, home

__all__ = ["earful", "home"]


@pytest.mark.skipif(importlib.util.find_spec("litert_torch") is not None, reason="it is installed")
def test_a_missing_converter_is_a_sentence_with_the_command(
    home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    result = earful("export", home.run, "--target", "tflite", "--out", tmp_path / "m.tflite")
    assert str(result.exception).endswith("install it with: uv sync --inexact --group tflite")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--features-outside"], "--features-outside is for --target tflite; leave it out"),
        (["--target", "tflite", "--web-runtime", "f"], "--web-runtime is for --target web"),
        (["--target", "tflite", "--max-lost-points", "0"], "--max-lost-points is for --int8"),
        (["--stream"], "--stream is for --target tflite; leave it out"),
        (["--target", "tflite", "--stream", "--int8"], "leave out --int8"),
    ],
)
def test_flags_that_say_nothing_are_refused(
    flags: list[str], sentence: str, home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    result = earful("export", home.run, "--out", tmp_path / "m.tflite", *flags)
    assert sentence in str(result.exception)


def test_points_to_lose_are_a_share(tmp_path: Path) -> None:
    for points in (-1, 101, float("nan"), "x", True):
        with pytest.raises(UsageError, match=r"^max_lost_points is "):
            export("run", tmp_path / "m", "tflite", int8=True, max_lost_points=points)  # type: ignore[call-overload]
    with pytest.raises(UsageError, match="int8 is True or False, found 'no'"):
        export("run", tmp_path / "m", "tflite", int8="no")  # type: ignore[call-overload]


def test_a_folded_network_is_the_same_network() -> None:
    torch.manual_seed(0)
    network = build_network("bcresnet", 40, 63, 3, {})
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            for tensor in (module.running_mean, module.weight.data, module.bias.data):
                cast("torch.Tensor", tensor).normal_()
            module.get_buffer("running_var").uniform_(0.5, 2)
            module.weight.data[0] = 0  # a channel, or a sub-band of one, that training silenced
    normalised = NormalisedNetwork(network, torch.zeros(40), torch.ones(40))
    model = WaveformClassifier(FeatureConfig(), "log_mel", normalised, 1.0, "softmax").eval()
    features = torch.randn(5, 40, 63)
    with torch.inference_mode():
        expected = model.classifier.network.embed(features)
        folded = prepare_for_tflite(model).classifier.network
        found = folded.embed(features)
    assert any(isinstance(module, RowAffine) for module in folded.modules())
    assert not any(isinstance(module, SubSpectralNorm) for module in folded.modules())
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_scores_that_differ_are_refused() -> None:
    accuracy = PairedAccuracy.of(np.ones(3, bool), np.ones(3, bool))
    check_parity(Parity("LiteRT", accuracy, 9e-5))
    for difference in (2e-4, float("nan")):
        with pytest.raises(TfliteError, match=r"^TFLite Micro and .* on 3 validation clips"):
            check_parity(Parity("TFLite Micro", accuracy, difference))
