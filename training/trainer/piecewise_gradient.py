"""The gradient of a batch on a CPU: its clips in pieces, each computed by a thread of its own.

Threads that share an operation wait for each other at the end of it, a hundred times a step, and
beside other work on the machine most of the time. Threads with pieces of their own meet once a
step, and the values of a piece fit into a processor's cache. Pieces depend on the batch alone and
their gradients are added in order, so the result does not depend on the number of threads.
"""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.dropout import _DropoutNd

from earful.models.layers.dropout import dropout_generator
from earful.training.loaders.sampler import BatchShard
from earful.training.trainer.loss_module import LossModule
from earful.training.trainer.objectives import BatchResult

# The values of a larger piece do not stay in the cache, and smaller ones take more calls.
PIECE_CLIPS = 32
_MAX_SEED = 2**62


@dataclass(frozen=True)
class _Piece:
    """Some clips of a shard, their share of its clips and of the batch, the seed of dropout."""

    features: Tensor
    targets: Tensor
    shard_share: float
    batch_share: float
    seed: int


class PiecewiseGradient:
    """Adds the gradient of shards to the weights of a loss module."""

    def __init__(self, loss_module: LossModule, batch_size: int) -> None:
        self._loss_module = loss_module
        self._weights = [w for w in loss_module.parameters() if w.requires_grad]
        n_threads, n_pieces = torch.get_num_threads(), max(1, batch_size // PIECE_CLIPS)
        self._threads = ThreadPoolExecutor(
            n_threads,
            "gradient",
            initializer=torch.set_num_threads,
            initargs=(max(1, n_threads // n_pieces),),
        )

    @classmethod
    def for_network(cls, loss_module: LossModule, batch_size: int) -> Self | None:
        """None where the loss of a piece is not that of its clips in the batch.

        These are networks with statistics of the batch, and those that draw random numbers
        elsewhere than in ``Dropout``, which would depend on the order of the threads.
        """
        if any(map(_needs_whole_batch, loss_module.network.modules())):
            return None
        return cls(loss_module, batch_size)

    def add(self, batch_shard: BatchShard) -> BatchResult:
        """Add the gradient of the mean loss of a shard, times its share of the batch."""
        pieces = _split(batch_shard)
        compute = map if len(pieces) == 1 else self._threads.map
        parts = list(compute(self._compute, pieces))
        total = parts[0][1]
        for _, gradient in parts[1:]:
            torch._foreach_add_(total, gradient)
        for weights, values in zip(self._weights, total, strict=True):
            weights.grad = values if weights.grad is None else weights.grad.add_(values)
        sums = [torch.stack(values).sum() for values in zip(*(r for r, _ in parts), strict=True)]
        return BatchResult(*sums)

    def _compute(self, piece: _Piece) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """The piece's terms of the shard's result, and of the batch's gradient."""
        with dropout_generator(torch.Generator().manual_seed(piece.seed)):
            loss, n_correct, n_labelled = self._loss_module(piece.features, piece.targets)
        # Not ``backward``, which two threads that share weights must not call at once.
        gradient = torch.autograd.grad(loss * piece.batch_share, self._weights)
        return (loss.detach() * piece.shard_share, n_correct, n_labelled), list(gradient)


def _split(batch_shard: BatchShard) -> list[_Piece]:
    n_clips = len(batch_shard.features)
    n_pieces = max(1, n_clips // PIECE_CLIPS)
    seeds = torch.randint(_MAX_SEED, (n_pieces,)).tolist()
    return [
        _Piece(
            features,
            targets,
            len(features) / n_clips,
            batch_shard.share * len(features) / n_clips,
            seed,
        )
        for features, targets, seed in zip(
            batch_shard.features.tensor_split(n_pieces),
            batch_shard.targets.tensor_split(n_pieces),
            seeds,
            strict=True,
        )
    ]


def _needs_whole_batch(module: nn.Module) -> bool:
    """Whether a layer uses statistics of the batch, or the global random numbers."""
    if isinstance(module, _NormBase):
        return module.track_running_stats
    if isinstance(module, _DropoutNd | nn.RNNBase):
        return bool(module.p if isinstance(module, _DropoutNd) else module.dropout)
    return False
