"""Copies to the training device that nothing waits for."""

import torch
from torch import Tensor


def copy_to_device(values: Tensor, device: torch.device) -> Tensor:
    """The values (any shape) on a device; a GPU goes on with earlier work meanwhile.

    CUDA sets values in ordinary memory aside before the call returns ("API synchronization
    behavior" of the CUDA runtime), so that they may be changed or freed at once.
    """
    return values.to(device, non_blocking=device.type == "cuda")
