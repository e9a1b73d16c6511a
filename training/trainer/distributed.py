"""The processes that train together, as ``torchrun`` starts them; one alone without it.

Every process holds the whole network and computes its shards of each batch; gradients are averaged
by DistributedDataParallel. Process 0 writes.
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
_PATIENCE = timedelta(minutes=30)
# Else processes that are started again find the addresses of those before (pytorch issue 135712).
_RESTARTS = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"


@dataclass(frozen=True)
class Team:
    """Process ``rank`` of ``size``; ``local_rank`` counts those of one machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def mine(self, shards: int) -> range:
        """The shards of a batch that this process computes.

        Raises:
            TrainingError: they cannot be dealt out evenly.
        """
        if shards % self.size:
            raise TrainingError(
                f"{shards} shards of a batch cannot be dealt to {self.size} processes evenly; "
                f"start as many processes as divide {shards}"
            )
        each = shards // self.size
        return range(self.rank * each, (self.rank + 1) * each)

    def total(self, values: Tensor) -> Tensor:
        """The sum over all processes of a float tensor."""
        if self.size > 1:
            values = values.clone()
            distributed.all_reduce(values)
        return values

    def wait(self, device: torch.device) -> None:
        """Until all processes are here."""
        self.total(torch.zeros((), device=device))

    def agree(self, what: str, numbers: Sequence[int], device: torch.device) -> None:
        """See that all processes begin alike.

        Raises:
            TrainingError: another process has other numbers.
        """
        if self.size == 1:
            return
        mine = torch.tensor(numbers, dtype=torch.int64, device=device)
        first = mine.clone()
        distributed.broadcast(first, src=0)
        differs = torch.tensor(float(not torch.equal(mine, first)), device=device)
        if float(self.total(differs)):
            raise TrainingError(
                f"the processes do not see the same {what}: process 0 has {first.tolist()}, "
                f"process {self.rank} {mine.tolist()}; give a folder that all machines share, or "
                "--checkpoints URL"
            )


def started() -> Team:
    """The process that this is, by what torchrun set."""
    if not distributed.is_torchelastic_launched():
        return Team()
    return Team(*(int(os.environ[name]) for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK")))


@contextlib.contextmanager
def joined(team: Team, device: torch.device) -> Iterator[None]:
    """The connection of the processes: NCCL between GPUs, gloo otherwise.

    Raises:
        TrainingError: another process has ended, or cannot be reached.
    """
    if team.size == 1 or distributed.is_initialized():
        yield
        return
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        distributed.init_process_group(backend, timeout=_PATIENCE)
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        # Those of gloo have no class of their own.
        if not isinstance(error, distributed.DistError) and "gloo" not in reason.lower():
            raise
        raise TrainingError(
            f"process {team.rank} cannot go on with the others ({reason}); start them again with "
            f"--resume. torchrun does it with --max-restarts, and {_RESTARTS}=1 in its environment"
        ) from error
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()
