"""Layers by name: statistics of norms, values of activations, refusal of unknown names."""

from typing import get_args

import pytest
import torch

from earful.data.errors import EarfulError
from earful.models.layers.blocks import (
    GROUPS,
    Activation,
    PositionAxes,
    VectorBatchNorm,
    activation,
    normalisation,
)

CHANNELS = 2 * GROUPS
# Axes of a norm's statistics in (batch, groups, channels of a group, positions).
NORMALISED_AXES = {"batch": (0, 3), "layer": (1, 2, 3), "instance": (3,), "group": (2, 3)}


def values(position_axes: PositionAxes) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    shape = (6, CHANNELS, *[5] * position_axes)
    scales = 1 + torch.arange(CHANNELS).reshape(1, -1, *[1] * position_axes)
    return 2.0 + scales * torch.randn(shape, generator=generator)


@pytest.mark.parametrize("position_axes", get_args(PositionAxes))
@pytest.mark.parametrize("name", NORMALISED_AXES)
def test_norms_use_the_statistics_of_their_axes(name: str, position_axes: PositionAxes) -> None:
    if (name, position_axes) == ("instance", 0):
        pytest.skip("vectors have no positions")
    norm = normalisation(name, CHANNELS, position_axes)
    assert norm is not None
    x = values(position_axes)
    grouped = x.reshape(6, GROUPS, CHANNELS // GROUPS, -1)
    variance, mean = torch.var_mean(grouped, NORMALISED_AXES[name], correction=0, keepdim=True)
    expected = (grouped - mean) / (variance + 1e-5).sqrt()
    torch.testing.assert_close(norm.train()(x), expected.reshape(x.shape), atol=1e-4, rtol=1e-4)


def test_norm_none_adds_no_layer() -> None:
    assert normalisation("none", CHANNELS, 1) is None


@pytest.mark.parametrize("channels", [7, 12, 50])
def test_groups_fit_any_number_of_channels(channels: int) -> None:
    norm = normalisation("group", channels, 0)
    assert norm is not None
    assert torch.isfinite(norm(torch.randn(3, channels))).all()


def test_single_vector_is_normalised_by_running_statistics() -> None:
    norm = VectorBatchNorm(3)
    for _ in range(200):
        norm.train()(torch.randn(64, 3) * 2 + 1)
    alone = torch.tensor([[1.0, 3.0, -1.0]])
    before = norm.running_mean.clone()
    normalised = norm.train()(alone)
    torch.testing.assert_close(normalised, norm.eval()(alone))
    torch.testing.assert_close(norm.running_mean, before)
    torch.testing.assert_close(normalised, torch.tensor([[0.0, 1.0, -1.0]]), atol=0.3, rtol=0)


@pytest.mark.parametrize(
    ("name", "below", "above"),
    [
        ("relu", 0.0, 2.0),
        ("leaky-relu", -0.02, 2.0),
        ("prelu", -0.5, 2.0),
        ("elu", -0.8647, 2.0),
        ("sigmoid", 0.1192, 0.8808),
        ("tanh", -0.9640, 0.9640),
    ],
)
def test_activation_values_at_minus_2_and_2(name: str, below: float, above: float) -> None:
    outputs = activation(name)(torch.tensor([-2.0, 2.0])).detach()
    torch.testing.assert_close(outputs, torch.tensor([below, above]), atol=1e-4, rtol=0)


def test_unknown_names_are_refused_with_the_choices() -> None:
    with pytest.raises(EarfulError, match="none, batch, layer, instance, group, found 'weight'"):
        normalisation("weight", 4, 1)
    with pytest.raises(EarfulError, match=f"{', '.join(get_args(Activation))}, found 'gelu'"):
        activation("gelu")
    with pytest.raises(EarfulError, match="none, batch, layer or group"):
        normalisation("instance", 4, 0)
