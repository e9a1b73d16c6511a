"""Splits a run into shards, one per task of a scheduler's array job (Slurm, AWS, Kubernetes)."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

from earful.service.batch.errors import BatchError
from earful.service.batch.request import ShardSpec


@dataclass(frozen=True)
class _ArrayVariables:
    """Environment variables of an array task: task number, task count, first number, step."""

    index: str
    count: str = ""
    first: str = ""
    step: str = ""


# Sources: Slurm's sbatch manual, "Job array support"; AWS Batch, "Array job environment variables";
# Kubernetes, "Indexed Job", which does not give the count.
_SCHEDULERS = (
    _ArrayVariables(
        "SLURM_ARRAY_TASK_ID",
        "SLURM_ARRAY_TASK_COUNT",
        "SLURM_ARRAY_TASK_MIN",
        "SLURM_ARRAY_TASK_STEP",
    ),
    _ArrayVariables("AWS_BATCH_JOB_ARRAY_INDEX", "AWS_BATCH_JOB_ARRAY_SIZE"),
    _ArrayVariables("JOB_COMPLETION_INDEX"),
)


def find_shard(
    index: int | None, count: int | None, environment: Mapping[str, str] = os.environ
) -> tuple[ShardSpec, str]:
    """The shard from options or the scheduler's variables, and the variable that was used.

    Raises:
        BatchError: the index or the count is missing or out of range.
    """
    array_index, array_count, variable = _from_environment(environment, count)
    if index is None and (count == 1 or (count is None and array_index is None)):
        return ShardSpec(0, 1), ""
    count = array_count if count is None else count
    used = variable if index is None else ""
    index = array_index if index is None else index
    if count is None:
        raise BatchError(
            f"shard {index}{f' (from {used})' if used else ''} has no number of shards; give "
            "--num-shards (1 for all inputs in one run)"
        )
    if index is None:
        raise BatchError(
            f"--num-shards {count} needs --shard-index: a number from 0 to {count - 1}"
        )
    if not 0 <= index < count:
        raise BatchError(
            f"shard {index}{f' (from {used})' if used else ''} is out of range; with --num-shards "
            f"{count} it is a number from 0 to {count - 1}"
        )
    return ShardSpec(index, count), used


def _from_environment(
    environment: Mapping[str, str], count: int | None
) -> tuple[int | None, int | None, str]:
    """Shard index, number of shards, and the variable that gives the index.

    An array whose size is not ``count`` repeats some tasks of a larger one (``--array=3``): there
    the task number is the shard index.
    """
    for variables in _SCHEDULERS:
        index, total = _number(environment, variables.index), _number(environment, variables.count)
        if index is None:
            continue
        if count is None or count == total:
            first = _number(environment, variables.first) or 0
            index = (index - first) // (_number(environment, variables.step) or 1)
        return index, total, variables.index
    return None, None, ""


def _number(environment: Mapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    return int(text) if text.isdecimal() else None
