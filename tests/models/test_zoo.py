"""Every network of the zoo: sizes, gradients, learning, and refusals that say what to do."""

import pytest
import torch
from torch.nn import functional

from data.errors import EarshotError
from data.features import FEATURE_KINDS, FeatureConfig, FeatureKind
from models.network import Network
from models.zoo import ZOO, build, parameter_count

FEATURES = FeatureConfig.for_rate(8_000)
N_LABELS = 10
# Networks with options that change their layers are tested with each of them.
OPTIONS = {"crnn": [{}, {"recurrent": "lstm", "hidden": 16}]}
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
    ("name", "bins", "frames"), [("cnn", 30, 63), ("cnn", 40, 30), ("crnn", 7, 63), ("crnn", 40, 1)]
)
def test_features_too_small_for_the_network_are_refused_with_their_size(
    name: str, bins: int, frames: int
) -> None:
    with pytest.raises(EarshotError, match=f"{name} needs features .* found {bins} x {frames}"):
        build(name, bins, frames, 10, {})
