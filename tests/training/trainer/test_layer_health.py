"""Dead units and vanishing gradients are detected, and measuring changes nothing."""

import copy

import torch
from torch import Tensor, nn

from earful.models.networks.zoo import build_network
from earful.training.trainer.layer_health import LayerHealth, layer_warnings, measure_layer_health

FEATURES = torch.randn(16, 40, 63, generator=torch.Generator().manual_seed(0))


def loss_of(network: nn.Module) -> object:
    return lambda x: network(x).square().mean()


def deep(activation: type[nn.Module], layers: int = 12) -> nn.Sequential:
    torch.manual_seed(0)
    steps: list[nn.Module] = [nn.Flatten(), nn.Linear(40 * 63, 32), activation()]
    for _ in range(layers):
        steps += [nn.Linear(32, 32), activation()]
    return nn.Sequential(*steps, nn.Linear(32, 3))


def layer_health(network: nn.Module) -> dict[str, LayerHealth]:
    layers = measure_layer_health(network, FEATURES, lambda x: network(x).square().mean())
    return {layer.name: layer for layer in layers}


def test_units_with_constant_output_are_dead() -> None:
    network = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.LazyLinear(2))
    features = FEATURES.unsqueeze(1)
    network(features)
    with torch.no_grad():
        network[0].bias[:6] = -1e3
    layers = measure_layer_health(network, features, lambda x: network(x).square().mean())
    assert {layer.name: layer.dead_share for layer in layers}["1"] == 0.75
    assert any("75 % of the units of 1 are dead" in text for text in layer_warnings(layers))


def test_saturated_units_are_dead() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(40 * 63, 4), nn.Tanh(), nn.Linear(4, 2))
    with torch.no_grad():
        network[1].bias[:] = torch.tensor([100.0, -100.0, 100.0, 0.0])
    assert layer_health(network)["2"].dead_share == 0.75


def test_gradients_vanish_in_a_deep_network_of_sigmoids_and_not_with_relu() -> None:
    weak = layer_warnings(list(layer_health(deep(nn.Sigmoid)).values()))
    assert any("vanish" in text and " 1," in text for text in weak)
    healthy = layer_health(deep(nn.ELU, layers=2))
    assert not layer_warnings(list(healthy.values()))
    assert all(layer.gradient_rms for layer in healthy.values() if layer.gradient_rms is not None)


def test_measuring_layers_does_not_change_the_network() -> None:
    network = build_network("crnn", 40, 63, 3, {})
    network.train()
    before, random = copy.deepcopy(network.state_dict()), torch.get_rng_state()
    health = layer_health(network)
    assert {"blocks.0", "recurrent", "head"} <= set(health)
    assert network.training
    assert torch.equal(random, torch.get_rng_state())
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(weights.grad is None for weights in network.parameters())


def test_a_healthy_classic_network_is_not_warned_about() -> None:
    torch.manual_seed(0)
    network = build_network("cnn", 40, 63, 3, {})
    targets = torch.arange(16) % 3

    def loss(x: Tensor) -> Tensor:
        return nn.functional.cross_entropy(network(x), targets[: len(x)])

    assert not layer_warnings(measure_layer_health(network, FEATURES, loss))
