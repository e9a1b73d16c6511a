"""A gradient in pieces is that of the whole batch, for any number of threads."""

import pytest
import torch
from torch import Tensor

from earful.models.layers.normalise import NormalisedNetwork
from earful.models.networks.zoo import build_network
from earful.training.config.train_config import TrainConfig, default_config
from earful.training.loaders.sampler import BatchShard
from earful.training.trainer.loss_module import LossModule
from earful.training.trainer.piecewise_gradient import PIECE_CLIPS, PiecewiseGradient

BINS, FRAMES, LABELS = 40, 63, 4
IN_PIECES: dict[str, dict[str, object]] = {"cnn": {}, "crnn": {"norm": "layer"}}
WITH_BATCH_STATISTICS = [
    "crnn",
    "convrnn",
    "mlp",
    "tcresnet",
    "tcresnet-causal",
    "bcresnet",
    "autoencoder",
]


pytestmark = pytest.mark.usefixtures("two_torch_threads")


def loss_module(model: str, **options: object) -> LossModule:
    torch.manual_seed(3)
    network = build_network(model, BINS, FRAMES, LABELS, options)
    normalised = NormalisedNetwork(network, torch.zeros(BINS), torch.ones(BINS))
    return LossModule(normalised.train(), default_config(model), None)


def batch_shard(clips: int, share: float = 1.0) -> BatchShard:
    generator = torch.Generator().manual_seed(5)
    features = torch.randn(clips, BINS, FRAMES, generator=generator)
    targets = torch.rand(clips, LABELS, generator=generator).softmax(1)
    return BatchShard(0, features, targets, share, is_last=True)


def gradients(module: LossModule) -> list[Tensor]:
    return [w.grad.clone() for w in module.parameters() if w.grad is not None]


def clear(module: LossModule) -> None:
    for weights in module.parameters():
        weights.grad = None


@pytest.mark.slow
@pytest.mark.parametrize("clips", [20, 64, 3 * PIECE_CLIPS + 5])
@pytest.mark.parametrize("model", IN_PIECES)
def test_pieces_add_up_to_the_gradient_of_the_batch(model: str, clips: int) -> None:
    module = loss_module(model, dropout=0.0, **IN_PIECES[model])
    shard = batch_shard(clips, share=0.5)
    whole = module(shard.features, shard.targets)
    (whole[0] * shard.share).backward()
    expected = gradients(module)
    clear(module)
    piecewise = PiecewiseGradient.for_network(module, 64)
    assert piecewise is not None
    result = piecewise.add(shard)
    torch.testing.assert_close(gradients(module), expected, rtol=1e-4, atol=1e-6)
    for found, value in zip((result.loss, result.n_correct, result.n_labelled), whole, strict=True):
        torch.testing.assert_close(found, value.detach())
    piecewise.add(shard)  # of the same clips once more: shards of a batch are added
    torch.testing.assert_close(
        gradients(module), [2 * part for part in expected], rtol=1e-4, atol=1e-6
    )


@pytest.mark.slow
@pytest.mark.parametrize("model", IN_PIECES)
def test_dropout_repeats_for_any_number_of_threads(model: str) -> None:
    found = []
    for n_threads in (1, 2, 4):
        torch.set_num_threads(n_threads)
        module = loss_module(model, dropout=0.3, **IN_PIECES[model])
        piecewise = PiecewiseGradient.for_network(module, 128)
        assert piecewise is not None
        torch.manual_seed(11)
        piecewise.add(batch_shard(128))
        found.append(gradients(module))
        clear(module)
        piecewise.add(batch_shard(128))
        assert not torch.equal(found[-1][0], gradients(module)[0])  # other clips are dropped
    assert all(torch.equal(*pair) for pair in zip(found[0], found[1], strict=True))
    assert all(torch.equal(*pair) for pair in zip(found[0], found[2], strict=True))


@pytest.mark.parametrize("model", WITH_BATCH_STATISTICS)
def test_a_network_with_statistics_of_the_batch_is_not_cut(model: str) -> None:
    assert PiecewiseGradient.for_network(loss_module(model), 64) is None


def test_a_network_that_draws_numbers_of_its_own_is_not_cut() -> None:
    drawing = loss_module(
        "crnn", norm="none", layers=2, dropout=0.2
    )  # between its recurrent layers
    assert PiecewiseGradient.for_network(drawing, 64) is None
    assert PiecewiseGradient.for_network(loss_module("cnn", norm="batch"), 64) is None
    assert PiecewiseGradient.for_network(loss_module("cnn", norm="layer"), 64) is not None


def test_the_default_batch_is_cut() -> None:
    assert TrainConfig().batch_size >= 2 * PIECE_CLIPS
