"""``tcresnet-causal``: no look ahead, and frame by frame the same as a clip at once."""

import pytest
import torch

from earful.data.errors import EarfulError
from earful.models.networks.causal_tcresnet import CausalTcResNet, CausalTcResNetConfig

BINS = 40


DEFAULT = CausalTcResNetConfig()
NARROW = CausalTcResNetConfig(stem=(8, 12), width=24)


def make_network(frames: int, config: CausalTcResNetConfig = DEFAULT) -> CausalTcResNet:
    torch.manual_seed(frames)
    network = CausalTcResNet(BINS, frames, 3, config)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
            module.get_buffer("running_mean").normal_()
            module.get_buffer("running_var").uniform_(0.5, 2)
    return network.eval()


@torch.inference_mode()
def stream(network: CausalTcResNet, features: torch.Tensor) -> torch.Tensor:
    """The embedding after the last of the frames (1, bins, frames)."""
    embedding, state = torch.empty(0), network.first_state()
    for frame in features.split(1, dim=2):
        embedding, state = network.step(frame, state)
    return embedding


@pytest.mark.parametrize(
    ("frames", "config"),
    [*((frames, DEFAULT) for frames in (9, 16, 50, 51, 57, 63)), (51, NARROW)],
)
def test_frame_by_frame_is_the_same_as_a_clip_at_once(
    frames: int, config: CausalTcResNetConfig
) -> None:
    network = make_network(frames, config)
    features = 2 * torch.randn(1, BINS, frames)
    with torch.inference_mode():
        expected = network.embed(features)
    assert torch.allclose(stream(network, features), expected, atol=1e-5)


@torch.inference_mode()
def test_no_frame_hears_what_comes_after_it() -> None:
    network = make_network(57)
    features = torch.randn(1, BINS, 57)
    changed = features.clone()
    changed[:, :, 49:] += 3
    before, after = network.feature_map(features), network.feature_map(changed)
    assert torch.equal(before[:, :, :-1], after[:, :, :-1])  # positions of frames 0, 8, ... 48
    assert not torch.allclose(before[:, :, -1], after[:, :, -1])


@pytest.mark.slow
@torch.inference_mode()
def test_a_stream_goes_on_after_a_clip_and_forgets() -> None:
    network = make_network(51)
    clip = torch.randn(1, BINS, 51)
    long_ago = torch.cat([torch.randn(1, BINS, 1000), clip], dim=2)
    longer_ago = torch.cat([torch.randn(1, BINS, 1000), long_ago], dim=2)
    found, expected = stream(network, longer_ago), stream(network, long_ago)
    assert torch.isfinite(found).all()
    assert torch.allclose(found, expected, atol=1e-4)


@torch.inference_mode()
def test_silence_before_a_word_does_not_weigh_on_its_mean() -> None:
    network = make_network(51)
    word = torch.randn(1, BINS, 51)
    silence = torch.full((1, BINS, 500), -6.0)
    _, state = network.step(word[:, :, :1], network.first_state())
    quiet_state = network.first_state()
    for frame in silence.split(1, dim=2):
        _, quiet_state = network.step(frame, quiet_state)
    _, quiet_state = network.step(word[:, :, :1], quiet_state)
    means = [sums / weights for sums, weights, *_ in (state, quiet_state)]
    assert torch.allclose(*means, atol=0.01)


def test_a_clip_that_is_too_short_is_refused() -> None:
    with pytest.raises(EarfulError, match="tcresnet-causal needs 9 frames or more, found 8"):
        make_network(8)
