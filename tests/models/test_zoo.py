"""Every network of the zoo: sizes, gradients, learning, and refusals that say what to do."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from data.errors import EarshotError
from data.features import FEATURE_KINDS, FeatureConfig, FeatureKind
from models.cost import multiply_adds
from models.network import Network
from models.zoo import ZOO, build, parameter_count

FEATURES = FeatureConfig.for_rate(8_000)
N_LABELS = 10
# Networks with options that change their layers are tested with each of them.
OPTIONS = {
    "crnn": [{}, {"recurrent": "lstm", "hidden": 16}],
    "bcresnet": [{}, {"width": 2.0}],
}
NETWORKS = [(name, options) for name in ZOO for options in OPTIONS.get(name, [{}])]


def network(name: str, options: dict[str, object], kind: FeatureKind) -> Network:
    torch.manual_seed(1)
    return build(name, FEATURES.bins(kind), FEATURES.frames, N_LABELS, options)


def features(kind: FeatureKind, batch: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(batch, FEATURES.bins(kind), FEATURES.frames, generator=generator)


@pytest.mark.parametrize("bins", [31, 40, 64])
@pytest.mark.parametrize("frames", [31, 63, 100])
def test_the_cnn_has_44602_parameters_whatever_the_image(bins: int, frames: int) -> None:
    assert parameter_count(build("cnn", bins, frames, 10, {})) == 44_602


@pytest.mark.parametrize(
    ("width", "thousands"),
    [(1.0, 9.2), (1.5, 17.2), (2.0, 27.3), (3.0, 54.2), (6.0, 188), (8.0, 321)],
)
def test_bcresnet_is_as_large_as_in_its_paper(width: float, thousands: float) -> None:
    """Table 2 of arXiv:2106.04140, with twelve labels."""
    found = parameter_count(build("bcresnet", 40, 101, 12, {"width": width}))
    assert found / 1e3 == pytest.approx(thousands, rel=0.01)


@pytest.mark.parametrize(
    ("name", "parameters", "millions"),
    [
        ("cnn", 44_602, 2.8),
        ("crnn", 188_018, 26.8),
        ("bcresnet", 9_166, 1.5),
        ("tcresnet", 404_155, 9.1),
    ],
)
def test_sizes_are_those_that_the_documentation_tells(
    name: str, parameters: int, millions: float
) -> None:
    built = build(name, 40, 63, N_LABELS, {})
    assert parameter_count(built) == parameters
    assert round(multiply_adds(built, 40, 63) / 1e6, 1) == millions


def test_multiply_adds_are_counted_by_hand_on_a_small_network() -> None:
    class Small(Network):
        def __init__(self) -> None:
            super().__init__()
            self.convolution = nn.Conv1d(4, 6, 3, padding=1, groups=2)
            self.recurrent = nn.GRU(6, 5, batch_first=True)
            self.head = nn.Linear(5, 2)

        def embed(self, x: torch.Tensor) -> torch.Tensor:
            read, _ = self.recurrent(self.convolution(x).transpose(1, 2))
            return read[:, -1]

    convolution, recurrent, head = 10 * 6 * 2 * 3, 10 * 3 * (6 * 5 + 5 * 5), 5 * 2
    assert multiply_adds(Small(), 4, 10) == convolution + recurrent + head


@pytest.mark.parametrize("kind", FEATURE_KINDS)
@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_forward_is_finite_and_its_head_reads_the_embedding(
    name: str, options: dict[str, object], kind: FeatureKind
) -> None:
    built = network(name, options, kind).eval()
    for batch in (1, 5):
        x = features(kind, batch)
        with torch.inference_mode():
            logits, embedding = built(x), built.embed(x)
            torch.testing.assert_close(built.head(embedding), logits)
        assert logits.shape == (batch, N_LABELS)
        assert embedding.shape == (batch, built.head.in_features)
        assert torch.isfinite(logits).all()


@pytest.mark.parametrize("kind", FEATURE_KINDS)
@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_a_gradient_reaches_every_parameter(
    name: str, options: dict[str, object], kind: FeatureKind
) -> None:
    built = network(name, options, kind)
    logits = built(features(kind, 8))
    functional.cross_entropy(logits, torch.arange(8)).backward()
    for parameter_name, parameter in built.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_evaluation_does_not_depend_on_the_rest_of_the_batch(
    name: str, options: dict[str, object]
) -> None:
    built = network(name, options, "mfcc").eval()
    x = features("mfcc", 6)
    with torch.inference_mode():
        torch.testing.assert_close(built(x)[2:3], built(x[2:3]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("name", "options"), NETWORKS)
def test_a_network_overfits_eight_clips(name: str, options: dict[str, object]) -> None:
    built = network(name, options, "mfcc")
    x, targets = features("mfcc", 8), torch.arange(8)
    optimizer = torch.optim.Adam(built.parameters(), lr=3e-3)
    for _ in range(400):
        built.train()
        optimizer.zero_grad()
        functional.cross_entropy(built(x), targets).backward()
        optimizer.step()
        built.eval()
        with torch.inference_mode():
            loss = float(functional.cross_entropy(built(x), targets))
        if loss < 0.05:
            break
    assert loss < 0.05
    assert built(x).argmax(1).tolist() == targets.tolist()


def test_an_unknown_network_is_refused_with_the_choices() -> None:
    with pytest.raises(EarshotError, match="'resnet152'") as refused:
        build("resnet152", 40, 63, 10, {})
    for name in ZOO:
        assert name in str(refused.value)


@pytest.mark.parametrize("name", ZOO)
def test_an_unknown_option_is_refused_and_the_known_ones_named(name: str) -> None:
    with pytest.raises(EarshotError, match=f"{name} has no option colour, shape; it has .*dropout"):
        build(name, 40, 63, 10, {"shape": 2, "dropout": 0.1, "colour": "red"})


@pytest.mark.parametrize(
    ("name", "bins", "frames"),
    [
        ("cnn", 30, 63),
        ("cnn", 40, 30),
        ("crnn", 7, 63),
        ("crnn", 40, 1),
        ("bcresnet", 32, 63),
        ("bcresnet", 40, 4),
    ],
)
def test_features_too_small_for_the_network_are_refused_with_their_size(
    name: str, bins: int, frames: int
) -> None:
    with pytest.raises(EarshotError, match=f"{name} needs features .* found {bins} x {frames}"):
        build(name, bins, frames, 10, {})


def test_a_clip_too_short_for_tcresnet_is_refused_and_the_shortest_is_trained_alone() -> None:
    with pytest.raises(EarshotError, match="tcresnet needs 9 frames or more, found 8"):
        build("tcresnet", 40, 8, 10, {})
    assert build("tcresnet", 40, 9, 10, {}).train()(torch.randn(1, 40, 9)).shape == (1, 10)
