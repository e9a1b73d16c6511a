"""What differs between the devices that train: their choice, float64, random numbers."""

import torch
from torch import Tensor

from earful.models.bundle.device import TrainingDevice
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.trainer.distributed import DistributedContext


def choose_device(
    choice: TrainingDevice, dist_context: DistributedContext | None = None
) -> torch.device:
    """The device to train on: ``auto`` is CUDA where available; each process has its own GPU.

    Raises:
        TrainingError: the device is not available, or there are too few of it.
    """
    is_one_process = dist_context is None or dist_context.world_size == 1
    if choice == "mps":
        return _choose_mps(is_one_process=is_one_process)
    available = torch.cuda.is_available()
    if choice == "cuda" and not available:
        raise TrainingError(
            "--device cuda was given and no CUDA device is usable; use --device auto or cpu"
        )
    if not available or choice == "cpu":
        return torch.device("cpu")
    if dist_context is None or dist_context.world_size == 1:
        return torch.device("cuda")
    if dist_context.local_rank >= torch.cuda.device_count():
        n_gpus = torch.cuda.device_count()
        raise TrainingError(
            f"process {dist_context.local_rank} of this machine has no GPU of its own: there are "
            f"{n_gpus}; start one process per GPU (torchrun --nproc-per-node {n_gpus})"
        )
    device = torch.device("cuda", dist_context.local_rank)
    torch.cuda.set_device(device)
    return device


def _choose_mps(*, is_one_process: bool) -> torch.device:
    if not torch.backends.mps.is_available():
        raise TrainingError(
            "--device mps was given and torch finds no GPU of Apple silicon here; use --device "
            "auto or cpu"
        )
    if not is_one_process:
        raise TrainingError("several processes train on CUDA or CPUs; use --device cpu, or one")
    return torch.device("mps")


def check_device_settings(config: TrainConfig, device: torch.device) -> None:
    """Refuse settings that the device does not have.

    Raises:
        TrainingError: it does not have one.
    """
    bfloat16 = config.precision == "bfloat16"
    if bfloat16 and device.type == "cuda" and not torch.cuda.is_bf16_supported():
        raise TrainingError("this GPU does not support bfloat16; leave out --precision")
    if bfloat16 and device.type == "mps":
        raise TrainingError("--precision bfloat16 is for CUDA and CPUs; leave it out with mps")
    if config.compile and device.type == "mps":
        raise TrainingError("--compile is for CUDA and CPUs; leave it out with mps")


def sum_dtype(device: torch.device) -> torch.dtype:
    """The type for sums over an epoch: mps has no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def in_float64(values: Tensor) -> Tensor:
    """The values as float64, on the CPU if their device has none."""
    return (values.cpu() if values.device.type == "mps" else values).double()


def random_state(device: torch.device) -> Tensor:
    """The state of a device's random number generator."""
    if device.type == "mps":
        return torch.mps.get_rng_state()
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()


def set_random_state(state: Tensor, device: torch.device) -> None:
    """Restore the state of a device's random number generator."""
    if device.type == "cuda":
        torch.cuda.set_rng_state(state, device)
    elif device.type == "mps":
        torch.mps.set_rng_state(state)
    else:
        torch.set_rng_state(state)
