"""Class activation maps of networks that pool over positions: exact, and in their place."""

import pytest
import torch

from earful.models.bundle.activation_map import MapAxis
from earful.models.layers.base import PooledNetwork
from earful.models.networks.zoo import CLASSIFIER_NETWORKS, build_network

POOLED = ("cnn", "bcresnet", "tcresnet")
N_LABELS = 5


def trained(name: str, bins: int, frames: int) -> PooledNetwork:
    """A network with running statistics that are not those of a new one."""
    torch.manual_seed(3)
    network = build_network(name, bins, frames, N_LABELS, {})
    assert isinstance(network, PooledNetwork)
    for _ in range(3):
        network.train()(2 * torch.randn(6, bins, frames) + 1)
    return network.eval()


@pytest.mark.parametrize(("bins", "frames"), [(40, 63), (80, 101)])
@pytest.mark.parametrize("name", POOLED)
def test_the_mean_of_the_map_plus_the_bias_is_the_logit(name: str, bins: int, frames: int) -> None:
    network = trained(name, bins, frames)
    x = torch.randn(4, bins, frames)
    with torch.inference_mode():
        maps = network.class_map(network.feature_map(x))
        logits = network(x)
    assert maps.shape[:2] == (4, N_LABELS)
    bias = network.head.get_parameter("bias")
    torch.testing.assert_close(maps.mean(dim=(2, 3)) + bias, logits, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", CLASSIFIER_NETWORKS)
def test_these_networks_have_an_exact_map_and_no_others(name: str) -> None:
    frames = 181 if name.startswith("encoder") else 63
    network = build_network(name, 32 if frames == 181 else 40, frames, N_LABELS, {})
    assert isinstance(network, PooledNetwork) == (name in POOLED)


@pytest.mark.slow
@pytest.mark.parametrize("name", POOLED)
def test_a_position_sees_the_bins_and_frames_around_the_place_that_its_axis_names(
    name: str,
) -> None:
    """Measured by gradients of many random inputs, since a ReLU hides a part of them."""
    bins, frames = 96, 160
    network = trained(name, bins, frames)
    x = torch.randn(24, bins, frames, requires_grad=True)
    first = network.get_submodule("blocks.0" if name == "cnn" else "stem.0")
    seen: list[torch.Tensor] = []
    first.register_forward_hook(lambda _module, inputs, _output: seen.append(inputs[0]))
    feature_map = network.feature_map(x)
    if feature_map.dim() == 3:
        feature_map = feature_map.unsqueeze(2)
    row, column = (size // 2 for size in feature_map.shape[2:])
    [gradient] = torch.autograd.grad(feature_map[:, :, row, column].sum(), seen[0])
    strength = gradient.abs().sum(dim=(0, 1))
    _assert_centre(strength.sum(dim=0), network.axes.frames, column)
    if network.axes.bins is not None and name == "cnn":  # bcresnet averages over all bins
        _assert_centre(strength.sum(dim=1), network.axes.bins, row)


def _assert_centre(strength: torch.Tensor, axis: MapAxis, position: int) -> None:
    touched = strength.nonzero().flatten()
    middle = (int(touched[0]) + int(touched[-1])) / 2
    assert abs(middle - (axis.first + position * axis.step)) <= 1
