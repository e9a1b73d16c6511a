"""Fitted models as networks: their values are buffers, saved, exported and served like weights."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from earful.models.layers.base import Network
from earful.models.layers.normalise import MIN_STD
from earful.models.layers.pooling import pooled_functionals, pooled_size

_FIT_CHUNK_CLIPS = 4096


class FittedModule(nn.Module):
    """A module whose values are buffers that a fit sets, and whose sizes the fit decides.

    A new one has the smallest sizes and gives all labels the same score; loading a state dict takes
    over the sizes of that state.
    """

    def set_fitted_buffers(self, **buffers: Tensor) -> None:
        """Replace buffers by fitted values."""
        for name, value in buffers.items():
            self._buffers[name] = value.to(self.get_buffer(name).dtype).contiguous()
        self.on_buffers_set()

    def on_buffers_set(self) -> None:
        """Called when buffers have new sizes or values."""

    def n_fitted(self) -> int:
        """The number of fitted values."""
        return sum(buffer.numel() for buffer in self.state_dict().values())

    def multiply_adds(self) -> int:
        """Multiply-adds of one clip; each module says what it counts."""
        return 0

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        for name, buffer in self._buffers.items():
            saved = state_dict.get(prefix + name)
            if buffer is not None and saved is not None:
                self._buffers[name] = torch.empty_like(saved, device=buffer.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self.on_buffers_set()


class Standardiser(FittedModule):
    """Standardises values (..., size) by mean and standard deviation (size,) of training clips."""

    mean: Tensor
    std: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def fit(self, values: Tensor) -> None:
        """Set mean and standard deviation from values (n, size), in float64 chunk by chunk."""
        chunks, n = torch.split(values, _FIT_CHUNK_CLIPS), len(values)
        mean = sum((chunk.double().sum(dim=0) for chunk in chunks), torch.zeros(())) / n
        squares = ((chunk.double() - mean).square().sum(dim=0) for chunk in chunks)
        std = (sum(squares, torch.zeros(())) / n).sqrt()
        # A value that never varies would otherwise be divided by zero.
        self.set_fitted_buffers(mean=mean, std=std.clamp_min(MIN_STD))

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.std


class PooledBaseline(Network):
    """Features (batch, bins, frames) to logits (batch, labels).

    The embedding is the standardised functionals (batch, 5 * bins); each baseline is a head on it.
    """

    def __init__(self, bins: int, head: FittedModule) -> None:
        super().__init__()
        self.standardiser = Standardiser(pooled_size(bins))
        self.head = head

    def embed(self, features: Tensor) -> Tensor:
        standardised: Tensor = self.standardiser(pooled_functionals(features))
        return standardised
