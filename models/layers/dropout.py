"""Dropout whose random numbers are cheap on a CPU.

A mask of PyTorch costs one draw of its generator for every value, which is a quarter of the time
that the classic CNN trains in. Here one draw decides four values, by 16 bits each.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

_STEPS = 1 << 16


class Dropout(nn.Module):
    """Each value (any shape) is zero with a chance of ``p``, to 1/65536; the others make up for it.

    Only while training. Seeded by ``torch.manual_seed``, as PyTorch's own is.
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return x
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return functional.dropout(x, self.p)
        return x * _mask(x, self.p)

    def extra_repr(self) -> str:
        return f"p={self.p}"


def _mask(x: Tensor, p: float) -> Tensor:
    """Zeros, and what keeps the mean elsewhere, laid out in memory as ``x``."""
    n_dropped = min(round(p * _STEPS), _STEPS - 1)
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    drawn = words.view(torch.int16)[: x.numel()]
    kept = (drawn >= n_dropped - _STEPS // 2).to(x.dtype).mul_(_STEPS / (_STEPS - n_dropped))
    dense = torch.empty_like(x)  # of the strides of x, without gaps
    return kept.as_strided(dense.shape, dense.stride())
