"""The devices that train: their choice, what they refuse, and training without float64."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from typer.testing import CliRunner

from earful.data.dataset.dataset import Dataset
from earful.training.cli import build_app
from earful.training.config.train_config import TrainConfig, TrainingError, default_config
from earful.training.loaders.auxiliary_data import NO_AUXILIARY_DATA
from earful.training.loaders.loader import stored_features
from earful.training.trainer import devices, loss_module, objectives
from earful.training.trainer.devices import (
    check_device_settings,
    choose_device,
    random_state,
    set_random_state,
    sum_dtype,
)
from earful.training.trainer.distributed import DistributedContext
from earful.training.trainer.objectives import objective_for
from earful.training.trainer.setup import initial_checkpoint, training_loader
from earful.training.trainer.train_step import TrainStep

MPS = torch.device("mps")


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_missing_cuda_is_reported() -> None:
    with pytest.raises(TrainingError, match="CUDA"):
        choose_device("cuda")
    assert choose_device("auto").type == "cpu"


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="this machine has Apple's GPU")
def test_missing_mps_is_reported_by_every_way_to_train(tones: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no GPU of Apple silicon here; use --device auto"):
        choose_device("mps")
    command = ["train", tones.folder, "--out", tmp_path / "run", "--model", "cnn", "--device"]
    done = CliRunner().invoke(build_app(), [str(word) for word in (*command, "mps")])
    assert isinstance(done.exception, TrainingError)
    assert not (tmp_path / "run").exists()


def test_mps_is_only_chosen_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("mps") == MPS
    assert choose_device("auto").type != "mps"
    with pytest.raises(TrainingError, match="several processes train on CUDA or CPUs"):
        choose_device("mps", DistributedContext(rank=1, world_size=2, local_rank=1))


@pytest.mark.parametrize(
    ("changes", "flag"), [({"precision": "bfloat16"}, "--precision"), ({"compile": True}, "--comp")]
)
def test_what_mps_lacks_is_refused(changes: dict[str, Any], flag: str) -> None:
    config = TrainConfig(**changes)
    with pytest.raises(TrainingError, match=f"{flag}.* leave it out with mps"):
        check_device_settings(config, MPS)
    check_device_settings(config, torch.device("cpu"))
    check_device_settings(TrainConfig(), MPS)


def test_random_numbers_repeat_from_a_state() -> None:
    cpu = torch.device("cpu")
    state = random_state(cpu)
    first = torch.rand(3)
    set_random_state(state, cpu)
    assert torch.equal(torch.rand(3), first)


class NoFloat64(TorchDispatchMode):
    """Refuses float64 as mps does, here on the CPU."""

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        found = func(*args, **(kwargs or {}))
        if isinstance(found, torch.Tensor) and found.dtype == torch.float64:
            raise TypeError(f"{func} made float64")
        return found


@pytest.mark.parametrize("model", ["cnn", "crnn", "tcresnet", "bcresnet", "mlp", "autoencoder"])
def test_an_epoch_and_its_measures_need_no_float64_on_mps(
    model: str, tones: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert sum_dtype(torch.device("cpu")) == sum_dtype(torch.device("cuda")) == torch.float64
    for module in (objectives, loss_module):
        monkeypatch.setattr(module, "sum_dtype", lambda device: devices.sum_dtype(MPS))
    config = replace(default_config(model), epochs=1, batch_size=16, grad_clip=1.0)
    cpu = torch.device("cpu")
    loader = training_loader(tones, NO_AUXILIARY_DATA, config, cpu)
    checkpoint = initial_checkpoint(tones, loader, "", config)
    with NoFloat64():
        step = TrainStep.from_checkpoint(checkpoint, loader, cpu, DistributedContext())
        result = step.train_epoch(loader, (), lambda *_: None)
        validation = stored_features(tones, config, "val", cpu)
        loss, _ = objective_for(model).measure(
            step.network, validation, config, DistributedContext()
        )
    assert 0 < result.loss < 100
    assert 0 < loss < 100
