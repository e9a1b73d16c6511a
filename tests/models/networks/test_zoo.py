"""Every network of the zoo: sizes, gradients, learning, and refusal of bad options and features."""

import dataclasses
from typing import get_args

import pytest
import torch
from torch.nn import functional

from earful.data.errors import EarfulError
from earful.data.features.config import FeatureConfig
from earful.data.features.encoder_config import feature_shape
from earful.data.features.kinds import FeatureKind
from earful.models.layers.base import Network
from earful.models.layers.blocks import Activation, Normalisation
from earful.models.networks.autoencoder import CLAMP_RANGE, centred
from earful.models.networks.flops import multiply_adds
from earful.models.networks.tcresnet import TcResNet, TcResNetConfig
from earful.models.networks.zoo import (
    CLASSIFIER_NETWORKS,
    FITTED_NETWORKS,
    ZOO,
    build_network,
    input_kinds,
    parameter_count,
    require_classifier,
    require_gradient_training,
)

FEATURES = FeatureConfig.for_rate(8_000)
SHORT = FeatureConfig.for_rate(8_000, clip_seconds=0.5)  # to learn from: half the frames to compute
N_LABELS = 10
# That of the shipped digits-small.
NARROW_TCRESNET: dict[str, object] = {"stem": (16, 16), "width": 48, "channels": (48, 64, 112)}
# Options that change the layers of a network, tested in addition to its defaults.
OPTIONS: dict[str, list[dict[str, object]]] = {
    "cnn": [{}, {"norm": "batch", "activation": "elu"}],
    "crnn": [{}, {"recurrent": "lstm", "hidden": 16}],
    "bcresnet": [{}, {"width": 2.0}],
    "convrnn": [{}, {"recurrent": "gru", "layers": 2, "bidirectional": True, "kernel": 3}],
    "tcresnet": [{}, NARROW_TCRESNET],
    "mlp": [{}, {"layers": 2, "hidden": 64, "norm": "group", "activation": "leaky-relu"}],
}
NETWORKS = [
    (name, options)
    for name in CLASSIFIER_NETWORKS
    if name not in FITTED_NETWORKS
    for options in OPTIONS.get(name, [{}])
]
# Learn eight clips in some seconds, the others sooner.
SLOW_TO_LEARN = ("crnn", "bcresnet", "encoder-finetuned")
# Tested for shapes and gradients; its layers also learn in the smaller networks above.
DEEP: tuple[str, dict[str, object]] = ("crnn", {"layers": 2, "bidirectional": False, "hidden": 16})
# Every normalisation and every activation in each network that has them.
CHOICES = [
    (name, norm, activation)
    for name in ("cnn", "crnn", "convrnn", "mlp")
    for norm, activation in zip(
        (*get_args(Normalisation), "batch"), get_args(Activation), strict=True
    )
    if (name, norm) != ("mlp", "instance")
]
EVERY_NETWORK = [*NETWORKS, DEEP, ("autoencoder", {})]


def with_kinds(
    networks: list[tuple[str, dict[str, object]]],
) -> list[tuple[str, dict[str, object], FeatureKind]]:
    """Each network with each kind of features that it takes."""
    return [
        (name, options, kind) for name, options in networks for kind in input_kinds(name, options)
    ]


def network(
    name: str, options: dict[str, object], kind: FeatureKind, config: FeatureConfig = FEATURES
) -> Network:
    torch.manual_seed(1)
    return build_network(name, *feature_shape(config, kind), N_LABELS, options)


def features(kind: FeatureKind, batch: int, config: FeatureConfig = FEATURES) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(batch, *feature_shape(config, kind), generator=generator)


@pytest.mark.parametrize("bins", [31, 40, 64])
@pytest.mark.parametrize("frames", [31, 63, 100])
def test_the_cnn_has_44602_parameters_whatever_the_image(bins: int, frames: int) -> None:
    assert parameter_count(build_network("cnn", bins, frames, 10, {})) == 44_602


@pytest.mark.parametrize(
    ("width", "thousands"),
    [(1.0, 9.2), (1.5, 17.2), (2.0, 27.3), (3.0, 54.2), (6.0, 188), (8.0, 321)],
)
def test_bcresnet_has_the_parameter_counts_of_its_paper(width: float, thousands: float) -> None:
    """Table 2 of arXiv:2106.04140, with twelve labels."""
    count = parameter_count(build_network("bcresnet", 40, 101, 12, {"width": width}))
    assert count / 1e3 == pytest.approx(thousands, rel=0.01)


@pytest.mark.parametrize(
    ("name", "parameters", "millions"),
    [
        ("cnn", 44_602, 2.8),
        ("crnn", 188_018, 26.8),
        ("bcresnet", 9_166, 1.5),
        ("tcresnet", 404_155, 9.1),
        ("convrnn", 67_466, 1.9),
        ("mlp", 27_018, 0.0),
        ("autoencoder", 177_009, 1.0),
    ],
)
def test_parameter_counts_match_the_documentation(
    name: str, parameters: int, millions: float
) -> None:
    built = build_network(name, 40, 63, N_LABELS, {})
    assert parameter_count(built) == parameters
    assert round(multiply_adds(built, 40, 63) / 1e6, 1) == millions


def test_the_options_of_tcresnet_make_it_narrower() -> None:
    assert parameter_count(build_network("tcresnet", 40, 63, 10, NARROW_TCRESNET)) == 308_955
    for name in ("tcresnet", "tcresnet-causal"):
        default, narrow = (
            parameter_count(build_network(name, 40, 63, N_LABELS, options))
            for options in ({}, {"stem": (8, 12)})
        )
        assert narrow < default


@pytest.mark.parametrize(("name", "options", "kind"), with_kinds([*NETWORKS, DEEP]))
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


@pytest.mark.parametrize("name", FITTED_NETWORKS)
def test_unfitted_baseline_gives_uniform_probabilities(name: str) -> None:
    [kind, *_] = input_kinds(name, {})
    built = network(name, {}, kind).eval()
    for batch in (1, 5):
        x = features(kind, batch)
        with torch.inference_mode():
            logits, embedding = built(x), built.embed(x)
            torch.testing.assert_close(built.head(embedding), logits)
            probabilities = torch.softmax(logits, dim=1)
        torch.testing.assert_close(probabilities, torch.full((batch, N_LABELS), 1 / N_LABELS))
    assert not [weights for weights in built.parameters() if weights.requires_grad]


@pytest.mark.parametrize(("name", "norm", "activation"), CHOICES)
def test_a_gradient_reaches_every_parameter_with_every_norm_and_activation(
    name: str, norm: str, activation: str
) -> None:
    built = network(name, {"norm": norm, "activation": activation}, "mfcc")
    names = {type(module).__name__.lower() for module in built.modules()}
    assert activation.replace("-", "") in names
    functional.cross_entropy(built(features("mfcc", 4)), torch.arange(4)).backward()
    for parameter_name, parameter in built.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert 0 < parameter.grad.abs().max() < torch.inf, parameter_name
    with torch.inference_mode():
        assert torch.isfinite(built.eval()(features("mfcc", 1))).all()


@pytest.mark.parametrize("name", ["cnn", "crnn", "convrnn", "mlp"])
@pytest.mark.parametrize("norm", [n for n in get_args(Normalisation) if n != "instance"])
def test_a_batch_of_one_clip_can_be_trained_on(name: str, norm: str) -> None:
    built = network(name, {"norm": norm}, "mfcc").train()
    assert torch.isfinite(built(features("mfcc", 1))).all()


def test_state_dict_names_of_classic_networks_match_released_checkpoints() -> None:
    cnn = {f"blocks.{4 * block}.{kind}": None for block in range(4) for kind in ("weight", "bias")}
    assert list(network("cnn", {}, "mfcc").state_dict()) == [*cnn, "head.weight", "head.bias"]
    norms = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    blocks = [
        f"blocks.{5 * block + place}.{kind}"
        for block in range(3)
        for place, kind in [(0, "weight"), *((1, norm) for norm in norms)]
    ]
    recurrent = [
        f"recurrent.{kind}_{to}_l0{direction}"
        for direction in ("", "_reverse")
        for kind in ("weight", "bias")
        for to in ("ih", "hh")
    ]
    crnn = [*blocks, *recurrent, "head.weight", "head.bias"]
    assert list(network("crnn", {}, "log_mel").state_dict()) == crnn


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("cnn", {"norm": "spectral"}, "norm is one of none, batch, layer, instance, group"),
        ("cnn", {"activation": "swish"}, "activation is one of relu, leaky-relu, prelu, elu"),
        ("crnn", {"recurrent": "rnn"}, "recurrent is one of gru, lstm, found 'rnn'"),
        ("crnn", {"layers": 0}, "layers must be a whole number of 1 or more, found 0"),
        ("crnn", {"dropout": 1.0}, "dropout must be from 0 to below 1"),
        ("convrnn", {"hidden": 2.5}, "hidden must be a whole number of 1 or more, found 2.5"),
        ("convrnn", {"kernel": 4}, "kernel must be odd, found 4"),
        ("mlp", {"norm": "instance"}, "choose none, batch, layer or group"),
        ("mlp", {"layers": -1}, "layers must be a whole number"),
        ("logistic", {"c": 0.0}, "c must be above 0"),
        ("random-forest", {"trees": 0}, "trees must be a whole number"),
        ("svm", {"gamma": -1.0}, "gamma must be above 0"),
        ("gmm-hmm", {"states": 0}, "states must be a whole number"),
    ],
)
def test_an_invalid_option_is_refused_with_the_accepted_values(
    name: str, options: dict[str, object], message: str
) -> None:
    with pytest.raises(EarfulError, match=message):
        build_network(name, 40, 63, 10, options)


@pytest.mark.parametrize(("name", "options", "kind"), with_kinds(EVERY_NETWORK))
def test_a_gradient_reaches_every_parameter(
    name: str, options: dict[str, object], kind: FeatureKind
) -> None:
    built = network(name, options, kind)
    output = built(features(kind, 8))
    if name in CLASSIFIER_NETWORKS:
        functional.cross_entropy(output, torch.arange(8)).backward()
    else:
        functional.mse_loss(output, centred(features(kind, 8))).backward()
    for parameter_name, parameter in built.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@pytest.mark.parametrize(("name", "options"), EVERY_NETWORK)
def test_evaluation_does_not_depend_on_the_rest_of_the_batch(
    name: str, options: dict[str, object]
) -> None:
    [kind, *_] = input_kinds(name, options)
    built = network(name, options, kind).eval()
    x = features(kind, 6)
    with torch.inference_mode():
        torch.testing.assert_close(built(x)[2:3], built(x[2:3]), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param(name, options, marks=[pytest.mark.slow] if name in SLOW_TO_LEARN else [])
        for name, options in NETWORKS
    ],
)
def test_a_network_overfits_eight_clips(name: str, options: dict[str, object]) -> None:
    [kind, *_] = input_kinds(name, options)
    built = network(name, options, kind, SHORT)
    x, targets = features(kind, 8, SHORT), torch.arange(8)
    optimizer = torch.optim.Adam(built.parameters(), lr=3e-3)
    for _ in range(40):
        built.train()
        for _ in range(10):
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


@pytest.mark.parametrize(("bins", "frames"), [(40, 63), (9, 9), (64, 101), (33, 130)])
def test_the_autoencoder_reconstructs_features_of_any_size(bins: int, frames: int) -> None:
    torch.manual_seed(1)
    built = build_network("autoencoder", bins, frames, N_LABELS, {"embedding_dim": 5}).eval()
    x = torch.randn(3, bins, frames)
    with torch.inference_mode():
        assert built.embed(x).shape == (3, 5)
        assert built(x).shape == x.shape
        torch.testing.assert_close(built.head(built.embed(x)), built(x))
    in_training = build_network("autoencoder", bins, frames, N_LABELS, {}).train()
    assert in_training(x[:1]).shape == (1, bins, frames)


@pytest.mark.slow
def test_the_autoencoder_overfits_eight_clips() -> None:
    """Smooth images, as spectrograms are: white noise does not compress."""
    built = network("autoencoder", {}, "log_mel")
    coarse = features("log_mel", 8)[:, None, ::4, ::4]
    x = functional.interpolate(coarse, (FEATURES.n_mels, FEATURES.frames), mode="bilinear")[:, 0]
    target = centred(x)
    optimizer = torch.optim.Adam(built.parameters(), lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        loss = functional.mse_loss(built(x), target)
        loss.backward()
        optimizer.step()
    assert float(loss.detach()) < 0.2 * float(target.var())


def test_centring_removes_the_level_and_the_surrounding_silence() -> None:
    word = features("log_mel", 2)
    torch.testing.assert_close(centred(word + 3.0), centred(word))
    hiss, silence = word.clone(), word.clone()
    hiss[:, :, :20], silence[:, :, :20] = -5.0, -50.0
    torch.testing.assert_close(centred(silence), centred(hiss))
    assert float(centred(silence).min()) == -CLAMP_RANGE
    assert float(centred(silence)[:, :, 20:].max()) > 0


def test_autoencoder_is_refused_where_labels_are_needed() -> None:
    with pytest.raises(EarfulError, match=r"autoencoder is not a classifier.*cnn, crnn"):
        require_classifier("autoencoder")
    for name in CLASSIFIER_NETWORKS:
        require_classifier(name)


@pytest.mark.parametrize("name", ZOO)
def test_fitted_baselines_are_refused_for_gradient_training(name: str) -> None:
    if name not in FITTED_NETWORKS:
        require_gradient_training(name)
        return
    with pytest.raises(EarfulError, match=f"^{name} is fitted, not trained") as refused:
        require_gradient_training(name)
    choices = str(refused.value).partition("choose from ")[2].split(", ")
    assert choices == [other for other in ZOO if other not in FITTED_NETWORKS]


def test_an_unknown_network_is_refused_with_the_choices() -> None:
    with pytest.raises(EarfulError, match="'resnet152'") as refused:
        build_network("resnet152", 40, 63, 10, {})
    for name in ZOO:
        assert name in str(refused.value)


@pytest.mark.parametrize("name", ZOO)
def test_an_unknown_option_is_refused_with_the_known_ones(name: str) -> None:
    fields = sorted(field.name for field in dataclasses.fields(ZOO[name].config))
    known = ", ".join(fields) or "none"
    with pytest.raises(EarfulError, match=f"{name} has no option colour, shape; it has {known}"):
        build_network(name, 40, 63, 10, {"shape": 2, "colour": "red"})


@pytest.mark.parametrize(
    ("name", "bins", "frames"),
    [
        ("cnn", 30, 63),
        ("cnn", 40, 30),
        ("crnn", 7, 63),
        ("crnn", 40, 1),
        ("bcresnet", 32, 63),
        ("bcresnet", 40, 4),
        ("convrnn", 40, 7),
        ("autoencoder", 8, 63),
        ("autoencoder", 40, 8),
    ],
)
def test_features_too_small_for_the_network_are_refused_with_their_size(
    name: str, bins: int, frames: int
) -> None:
    with pytest.raises(EarfulError, match=f"{name} needs features .* found {bins} x {frames}"):
        build_network(name, bins, frames, 10, {})


def test_shortest_clip_for_tcresnet_trains_and_shorter_ones_are_refused() -> None:
    with pytest.raises(EarfulError, match="tcresnet needs 9 frames or more, found 8"):
        build_network("tcresnet", 40, 8, 10, {})
    assert build_network("tcresnet", 40, 9, 10, {}).train()(torch.randn(1, 40, 9)).shape == (1, 10)


def test_weights_of_an_earlier_tcresnet_are_loaded() -> None:
    """Its convolutions over time had no axis of bins."""
    torch.manual_seed(0)
    network, other = (TcResNet(40, 63, 10, TcResNetConfig()).eval() for _ in range(2))
    earlier = {
        name: weight.squeeze(2) if weight.dim() == 4 and not name.startswith("stem") else weight
        for name, weight in network.state_dict().items()
    }
    assert earlier["attention.weight"].dim() == 3
    other.load_state_dict(earlier)
    features = torch.randn(2, 40, 63)
    assert torch.equal(network(features), other(features))
