"""What a fit found, as tensors of a network: saved, exported and served like any other."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from earful.models.layers.base import Network
from earful.models.layers.normalise import MIN_STD
from earful.models.layers.pooling import pooled_functionals, pooled_size

_FIT_CHUNK_CLIPS = 4096


class FittedModule(nn.Module):
    """A module whose numbers are buffers that a fit sets, and whose sizes the fit decides.

    A new one has the smallest sizes and answers all labels alike; loading a state gives it the
    sizes of that state.
    """

    def set_fitted_buffers(self, **buffers: Tensor) -> None:
        """Replace buffers by what a fit found."""
        for name, value in buffers.items():
            self._buffers[name] = value.to(self.get_buffer(name).dtype).contiguous()
        self.on_buffers_set()

    def on_buffers_set(self) -> None:
        """Called when buffers have new sizes or values."""

    def n_fitted(self) -> int:
        """How many numbers the fit found."""
        return sum(buffer.numel() for buffer in self.state_dict().values())

    def multiply_adds(self) -> int:
        """Of one clip; each module tells what it counts."""
        return 0

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        for name, buffer in self._buffers.items():
            saved = state_dict.get(prefix + name)
            if buffer is not None and saved is not None:
                self._buffers[name] = torch.empty_like(saved, device=buffer.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self.on_buffers_set()


class Standardiser(FittedModule):
    """Values (..., size) less their mean, over their deviation, both of training clips, (size,)."""

    mean: Tensor
    std: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("std", torch.ones(size))

    def fit(self, values: Tensor) -> None:
        """Take mean and deviation of values (n, size), float64 for a few of them at a time."""
        parts, n = torch.split(values, _FIT_CHUNK_CLIPS), len(values)
        mean = sum((part.double().sum(dim=0) for part in parts), torch.zeros(())) / n
        squares = ((part.double() - mean).square().sum(dim=0) for part in parts)
        std = (sum(squares, torch.zeros(())) / n).sqrt()
        self.set_fitted_buffers(
            mean=mean,
            # What never varies would otherwise be divided by nothing.
            std=std.clamp_min(MIN_STD),
        )

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.std


class PooledBaseline(Network):
    """Features (batch, bins, frames) to logits (batch, labels); the embedding is what is pooled.

    A baseline is its head: (batch, 5 * bins) standardised functionals to logits.
    """

    def __init__(self, bins: int, head: FittedModule) -> None:
        super().__init__()
        self.standardiser = Standardiser(pooled_size(bins))
        self.head = head

    def embed(self, features: Tensor) -> Tensor:
        standardised: Tensor = self.standardiser(pooled_functionals(features))
        return standardised
