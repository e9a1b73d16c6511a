"""What a fit found, as tensors of a network: saved, exported and served like any other."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from earful.models.layers.base import Network
from earful.models.layers.normalise import MIN_STANDARD_DEVIATION
from earful.models.layers.pooling import pooled, pooled_size

_FITTED_AT_A_TIME = 4096


class Fitted(nn.Module):
    """A module whose numbers are buffers that a fit sets, and whose sizes the fit decides.

    A new one has the smallest sizes and answers all labels alike; loading a state gives it the
    sizes of that state.
    """

    def set_fitted(self, **buffers: Tensor) -> None:
        """Replace buffers by what a fit found."""
        for name, value in buffers.items():
            self._buffers[name] = value.to(self.get_buffer(name).dtype).contiguous()
        self.resized()

    def resized(self) -> None:
        """Called when buffers have new sizes or values."""

    def n_fitted(self) -> int:
        """How many numbers the fit found."""
        return sum(buffer.numel() for buffer in self.state_dict().values())

    def multiply_adds(self) -> int:
        """Of one clip; each module tells what it counts."""
        return 0

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *rest: Any) -> None:
        for name, buffer in self._buffers.items():
            found = state_dict.get(prefix + name)
            if buffer is not None and found is not None:
                self._buffers[name] = torch.empty_like(found, device=buffer.device)
        super()._load_from_state_dict(state_dict, prefix, *rest)
        self.resized()


class Standardise(Fitted):
    """Values (..., size) less their mean, over their deviation, both of training clips, (size,)."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("deviation", torch.ones(size))

    def fit(self, values: Tensor) -> None:
        """Take mean and deviation of values (n, size), float64 for a few of them at a time."""
        parts, n = torch.split(values, _FITTED_AT_A_TIME), len(values)
        mean = sum((part.double().sum(dim=0) for part in parts), torch.zeros(())) / n
        squares = ((part.double() - mean).square().sum(dim=0) for part in parts)
        deviation = (sum(squares, torch.zeros(())) / n).sqrt()
        self.set_fitted(
            mean=mean,
            # What never varies would otherwise be divided by nothing.
            deviation=deviation.clamp_min(MIN_STANDARD_DEVIATION),
        )

    def forward(self, values: Tensor) -> Tensor:
        return (values - self.mean) / self.deviation


class PooledBaseline(Network):
    """Features (batch, bins, frames) to logits (batch, labels); the embedding is what is pooled.

    A baseline is its head: (batch, 5 * bins) standardised functionals to logits.
    """

    def __init__(self, bins: int, head: Fitted) -> None:
        super().__init__()
        self.standardise = Standardise(pooled_size(bins))
        self.head = head

    def embed(self, features: Tensor) -> Tensor:
        found: Tensor = self.standardise(pooled(features))
        return found
