"""Training with tensors that claim to be on CUDA: on one device, with the results of the CPU."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import get_args

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from earful.data.dataset.dataset import Dataset
from earful.models.networks.zoo import ZOO
from earful.training.config.train_config import (
    Balance,
    Loss,
    Optimizer,
    TrainConfig,
    default_config,
)
from earful.training.loaders.auxiliary_data import NO_AUXILIARY_DATA
from earful.training.loaders.loader import stored_features
from earful.training.loaders.sampler import BatchPlan
from earful.training.metrics.calibration import Calibration
from earful.training.trainer.checkpoint import Checkpoint, EpochRecord
from earful.training.trainer.distributed import DistributedContext
from earful.training.trainer.objectives import objective_for
from earful.training.trainer.setup import (
    augmented_validation,
    initial_checkpoint,
    training_loader,
)
from earful.training.trainer.train_step import EpochResult, TrainStep
from tests.fixtures.claimed_cuda import CUDA, claimed_cuda, values_of

CPU = torch.device("cpu")
FEW_LAYERS = ("cnn", "mlp", "autoencoder")
TRAINED = [
    pytest.param(name, marks=[] if name in FEW_LAYERS else pytest.mark.slow)
    for name, entry in ZOO.items()
    if not entry.fitted
]
of_each_network = pytest.mark.parametrize("model", TRAINED)
# Everything that a step can do. Not Adam: it takes the sign of a gradient near zero, which rounding
# turns.
EVERYTHING = {
    "batch_size": 18,
    "optimizer": "nesterov",
    "learning_rate": 1e-3,
    "schedule": "cosine",
    "augment": False,
    "mixup": 0.0,
    "ema_decay": 0.9,
    "l1": 1e-4,
    "weight_decay": 1e-3,
    "grad_clip": 1.0,
    "label_smoothing": 0.1,
    "balance": "weights",
}
SMALL = TrainConfig(model="mlp", batch_size=18, options={"dropout": 0.0})


@dataclass(frozen=True)
class Epoch:
    """An epoch of training, its validation, and the checkpoint after it."""

    step: TrainStep
    result: EpochResult
    val_loss: float
    calibration: Calibration | None
    checkpoint: Checkpoint


def without_dropout(model: str) -> TrainConfig:
    """Its random numbers are other ones on CUDA."""
    config = default_config(model)
    names = {field.name for field in fields(ZOO[model].config)}
    return replace(config, options={"dropout": 0.0} if "dropout" in names else {})


def train_epoch(
    dataset: Dataset,
    config: TrainConfig,
    device: torch.device,
    on_batch: Callable[[int, int, int], None] = lambda epoch, done, total: None,
) -> Epoch:
    """As ``training.trainer.trainer.fit`` does it."""
    train = training_loader(dataset, NO_AUXILIARY_DATA, config, device)
    start = initial_checkpoint(dataset, train, "", config)
    step = TrainStep.from_checkpoint(start, train, device)
    result = step.train_epoch(train, [], on_batch)
    val = stored_features(dataset, config, "val", device)
    augmented = augmented_validation(dataset, val, config, device)
    objective = objective_for(config.model)
    loss, accuracy = objective.measure(step.ema_network, augmented, config, DistributedContext())
    calibration = objective.calibrate(step.ema_network, augmented, config)
    record = EpochRecord(1, result.loss, result.accuracy, loss, accuracy, 1.0, result.learning_rate)
    return Epoch(step, result, loss, calibration, step.checkpoint(start, record))


def assert_equals_the_cpu(dataset: Dataset, config: TrainConfig, tolerance: float = 1e-4) -> None:
    """An epoch on CUDA leaves the weights of one on the CPU, and everything is on its device."""
    expected = train_epoch(dataset, config, CPU)
    with claimed_cuda():
        epoch = train_epoch(dataset, config, CUDA)
    assert devices(epoch.step.network.state_dict().values()) == {"cuda"}
    assert devices(epoch.step.ema_network.state_dict().values()) == {"cuda"}
    assert devices(epoch.checkpoint.weights.values()) == {"cpu"}
    for name, weights in expected.checkpoint.weights.items():
        found = values_of(epoch.checkpoint.weights[name])
        assert_close(found, weights, rtol=tolerance, atol=tolerance, msg=f"{name}: {{}}".format)
    assert epoch.result.loss == pytest.approx(expected.result.loss, rel=tolerance)
    assert epoch.result.accuracy == expected.result.accuracy
    assert epoch.val_loss == pytest.approx(expected.val_loss, rel=10 * tolerance)
    assert (epoch.calibration is None) == (expected.calibration is None)
    for found_layer, layer in zip(epoch.result.layers, expected.result.layers, strict=True):
        assert found_layer.name == layer.name
        assert found_layer.dead_share == layer.dead_share
        if layer.gradient_rms is not None:
            assert found_layer.gradient_rms == pytest.approx(layer.gradient_rms, rel=0.01)


def devices(tensors: Iterable[Tensor]) -> set[str]:
    return {tensor.device.type for tensor in tensors}


@pytest.fixture
def clips(request: pytest.FixtureRequest, model: str) -> Dataset:
    """The shortest clips that the network takes."""
    dataset: Dataset = request.getfixturevalue("short_tones" if model == "cnn" else "brief_tones")
    return dataset


@pytest.mark.slow
@of_each_network
def test_an_epoch_of_each_network_equals_the_cpu(clips: Dataset, model: str) -> None:
    assert_equals_the_cpu(clips, replace(without_dropout(model), **EVERYTHING))


@of_each_network
def test_each_network_trains_with_its_own_settings_on_cuda(clips: Dataset, model: str) -> None:
    """Dropout, and augmentation where it is the default."""
    config = replace(default_config(model), batch_size=18, epochs=1, mixup=0.3)
    with claimed_cuda():
        train = training_loader(clips, NO_AUXILIARY_DATA, config, CUDA)
        start = initial_checkpoint(clips, train, "", config)
        step = TrainStep.from_checkpoint(start, train, CUDA)
        batch = next(iter(train.batch_shards(BatchPlan(18, seed=1))))
        assert devices([batch.features, batch.targets]) == {"cuda"}
        loss = step.single_step(batch, 1e-3)
        gradients = [weights.grad for weights in step.network.parameters()]
        assert devices(grad for grad in gradients if grad is not None) == {"cuda"}
    assert all(grad is not None for grad in gradients)
    assert 0 < loss < 10


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", get_args(Optimizer))
def test_each_optimizer_keeps_its_state_on_cuda(short_tones: Dataset, optimizer: Optimizer) -> None:
    # A step of L-BFGS evaluates its batch up to 25 times.
    config = replace(SMALL, optimizer=optimizer, batch_size=64 if optimizer == "lbfgs" else 18)
    expected = train_epoch(short_tones, config, CPU)
    with claimed_cuda():
        epoch = train_epoch(short_tones, config, CUDA)
        # The counts of steps are numbers of the CPU.
        states = [
            value
            for state in epoch.step.optimizer.state.values()
            for value in state.values()
            if isinstance(value, Tensor) and value.dim()
        ]
    assert devices(states) <= {"cuda"}
    assert bool(states) == (optimizer != "sgd")
    assert epoch.result.loss == pytest.approx(expected.result.loss, rel=1e-3)


@pytest.mark.parametrize("balance", get_args(Balance))
@pytest.mark.parametrize("loss", get_args(Loss))
def test_each_loss_and_balance_equals_the_cpu(
    short_tones: Dataset, loss: Loss, balance: Balance
) -> None:
    config = replace(SMALL, optimizer="momentum", loss=loss, balance=balance, label_smoothing=0.1)
    assert_equals_the_cpu(short_tones, config)


@pytest.mark.slow
def test_shards_have_their_own_statistics_and_random_numbers_on_cuda(brief_tones: Dataset) -> None:
    config = replace(without_dropout("tcresnet"), **EVERYTHING)
    assert_equals_the_cpu(brief_tones, replace(config, shards=3))


@pytest.mark.slow
def test_an_epoch_on_augmented_waveforms_equals_the_cpu(brief_tones: Dataset) -> None:
    config = replace(without_dropout("tcresnet"), **EVERYTHING)
    config = replace(config, augment=True, mixup=0.5, options={"dropout": 0.0, "width": 8})
    assert_equals_the_cpu(brief_tones, config)


def test_steps_on_stored_features_never_wait_for_a_gpu(short_tones: Dataset) -> None:
    """Python is ahead of the GPU from the first step to the last."""
    config = replace(without_dropout("cnn"), **EVERYTHING)
    after_batches: list[int] = []
    with claimed_cuda() as mode:

        def note_waits(epoch: int, done: int, total: int) -> None:
            after_batches.append(len(mode.waits))

        train_epoch(short_tones, config, CUDA, note_waits)
    assert len(after_batches) > 1
    assert all(before == after for before, after in pairwise(after_batches))


def test_a_tensor_on_the_wrong_device_is_refused() -> None:
    """The tests here could not fail otherwise."""
    with claimed_cuda() as mode:
        ours = torch.ones(3, device=CUDA)
        with pytest.raises(RuntimeError, match="two different devices"):
            ours + torch.ones(3)
        with pytest.raises(RuntimeError, match="two different devices"):
            ours[torch.tensor([0, 2])] @ torch.ones(2)
        with pytest.raises(RuntimeError, match="two different devices"):
            torch.stack([ours[0], torch.tensor(0.0)])
        with pytest.raises(RuntimeError, match="device type for generator"):
            torch.rand(3, device=CUDA, generator=torch.Generator())
        with pytest.raises(RuntimeError, match="device type for generator"):
            torch.rand(3, generator=torch.Generator(CUDA))
        with pytest.raises(TypeError, match="to numpy"):
            ours.numpy()
        assert mode.waits == []
        assert float(ours.sum()) == 3
        assert ours.cpu().numpy().tolist() == [1, 1, 1]
        assert mode.waits == ["aten._local_scalar_dense.default", "copy from cuda to cpu"]
