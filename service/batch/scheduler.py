"""A run in pieces, one for each task of a scheduler's array, and the names of their results."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from earful.service.batch.errors import BatchError
from earful.service.batch.shards import InputChunk

# In the environment of an array's tasks: a task's number, how many tasks there are, the first
# number and the step between them. Sources: Slurm's sbatch manual, "Job array support"; AWS Batch,
# "Array job environment variables"; Kubernetes, "Indexed Job", which does not tell how many.
_ARRAY_VARIABLES = (
    (
        "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN",
        "SLURM_ARRAY_TASK_STEP",
    ),
    ("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE", "", ""),
    ("JOB_COMPLETION_INDEX", "", "", ""),
)  # fmt: skip


@dataclass(frozen=True)
class ShardSpec:
    """One of ``count`` pieces of a run, counted from 0."""

    index: int
    count: int

    @property
    def is_whole(self) -> bool:
        return self.count == 1

    def output_path(self, out: Path) -> Path:
        """results.csv -> results-00002-of-00010.csv; the name itself where there is one piece."""
        if self.is_whole:
            return out
        return out.with_name(f"{out.stem}-{self.index:05}-of-{self.count:05}{out.suffix}")

    def select_chunks(self, chunks: Sequence[InputChunk]) -> list[InputChunk]:
        """The shards of this piece: neighbours, with about as many inputs as every other piece."""
        total = chunks[-1].first + chunks[-1].count if chunks else 0
        return [s for s in chunks if s.first * self.count // total == self.index]


def find_shard(
    index: int | None, count: int | None, environment: Mapping[str, str] = os.environ
) -> tuple[ShardSpec, str]:
    """The piece that options or the scheduler's variables ask for, and which variable did.

    Raises:
        BatchError: a number that is missing or out of range.
    """
    array_index, array_count, variable = _from_environment(environment, count)
    if index is None and (count == 1 or (count is None and array_index is None)):
        return ShardSpec(0, 1), ""
    count = array_count if count is None else count
    used = variable if index is None else ""
    index = array_index if index is None else index
    if count is None:
        raise BatchError(
            f"shard {index}{f' (by {used})' if used else ''} of how many? Give --num-shards; 1 for "
            "all inputs in one run"
        )
    if index is None:
        raise BatchError(
            f"--num-shards {count} needs --shard-index: a number from 0 to {count - 1}"
        )
    if not 0 <= index < count:
        raise BatchError(
            f"shard {index}{f' (by {used})' if used else ''} is out of range; with --num-shards "
            f"{count} it is from 0 to {count - 1}"
        )
    return ShardSpec(index, count), used


def _from_environment(
    environment: Mapping[str, str], count: int | None
) -> tuple[int | None, int | None, str]:
    """Number, how many there are, and the variable that says the number.

    An array of other size than ``count`` is a part of one that is done again (``--array=3``): there
    the number is the shard's.
    """
    for name, size, first, step in _ARRAY_VARIABLES:
        number, total = _number(environment, name), _number(environment, size)
        if number is None:
            continue
        if count is None or count == total:
            number = (number - (_number(environment, first) or 0)) // (
                _number(environment, step) or 1
            )
        return number, total, name
    return None, None, ""


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    return int(text) if text.isdecimal() else None
