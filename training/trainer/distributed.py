"""Distributed training in the processes that ``torchrun`` starts; a single process without it.

Every process holds the whole network and computes its shards of each batch; gradients are averaged
by DistributedDataParallel. Process 0 writes all files.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor, distributed

from earful.training.config.train_config import TrainingError

# Process 0 writes checkpoints and measures the calibration while the others wait.
_TIMEOUT = timedelta(minutes=30)
# Otherwise restarted processes find the addresses of the ended ones (pytorch issue 135712).
_RESTARTS = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"


@dataclass(frozen=True)
class DistributedContext:
    """Process ``rank`` of ``world_size``; ``local_rank`` is its number on its machine."""

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_main_process(self) -> bool:
        return self.rank == 0

    def shard_range(self, shards: int) -> range:
        """The shards of a batch that this process computes.

        Raises:
            TrainingError: the shards cannot be divided evenly among the processes.
        """
        if shards % self.world_size:
            raise TrainingError(
                f"{shards} shards of a batch cannot be divided evenly among {self.world_size} "
                f"processes; start a number of processes that divides {shards}, or give --shards"
            )
        shards_per_process = shards // self.world_size
        return range(self.rank * shards_per_process, (self.rank + 1) * shards_per_process)

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes of a float tensor."""
        if self.world_size > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def barrier(self, device: torch.device) -> None:
        """Wait until all processes are here."""
        self.total(torch.zeros((), device=device))

    def require_equal(self, what: str, numbers: Sequence[int], device: torch.device) -> None:
        """Check that all processes have the same ``numbers``; ``what`` names them in the error.

        Raises:
            TrainingError: they differ.
        """
        if self.world_size == 1:
            return
        own_values = torch.tensor(numbers, dtype=torch.int64, device=device)
        main_values = own_values.clone()
        distributed.broadcast(main_values, src=0)
        differs = torch.tensor(float(not torch.equal(own_values, main_values)), device=device)
        if float(self.total(differs)):
            raise TrainingError(
                f"the processes do not have the same {what}: process 0 has "
                f"{main_values.tolist()}, process {self.rank} has {own_values.tolist()}; give an "
                "--out that all machines share, or --checkpoint-mirror URL"
            )


def detect_distributed() -> DistributedContext:
    """The context of this process, from the environment variables that torchrun sets."""
    if not distributed.is_torchelastic_launched():
        return DistributedContext()
    return DistributedContext(
        *(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"))
    )


@contextlib.contextmanager
def process_group(dist_context: DistributedContext, device: torch.device) -> Iterator[None]:
    """Connect the processes: NCCL between GPUs, gloo otherwise.

    Raises:
        TrainingError: another process has ended, or cannot be reached.
    """
    if dist_context.world_size == 1 or distributed.is_initialized():
        yield
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        distributed.init_process_group(backend, timeout=_TIMEOUT)
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        # Errors of gloo have no class of their own.
        if not isinstance(error, distributed.DistError) and "gloo" not in reason.lower():
            raise
        raise TrainingError(
            f"process {dist_context.rank} lost the other processes ({reason}); restart all of them "
            f"with --resume. torchrun does so with --max-restarts and {_RESTARTS}=1 in its "
            "environment"
        ) from error
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
