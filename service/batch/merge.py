"""Merges the results of all shards of a run, as if a single run had written them."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from earful.data.atomic_write import staged_file
from earful.service.batch.errors import BatchError
from earful.service.batch.formats import FILE_SUFFIXES, import_pyarrow, output_format
from earful.service.batch.job_state import JobState
from earful.service.batch.output_folder import check_output, job_folder_path, results_fingerprint
from earful.service.batch.settled_rows import RunStats


def merge_results(shard_results: Sequence[Path], out: Path) -> RunStats:
    """Write the results of all shards of a run to ``out``, in shard order.

    Raises:
        BatchError: a shard is missing, unfinished, given twice, or from another run.
        OutputError: ``out`` cannot be written.
    """
    states = {path: _load_state(path) for path in shard_results}
    first = states[shard_results[0]]
    format_name = str(first.settings["format"])
    if format_name not in FILE_SUFFIXES.values():
        raise BatchError(
            f"{format_name} results cannot be merged: they are one file per recording already"
        )
    if output_format(out, None) != format_name:
        raise BatchError(
            f"the shards are {format_name}; give the name of a .{format_name} file as --out"
        )
    for path, state in states.items():
        changed = first.differences(state, ignoring="shard")
        if changed:
            raise BatchError(
                f"{path} is from another run than {shard_results[0]}: {'; '.join(changed)}"
            )
    ordered = _sort_by_shard(states)
    check_output(out, format_name)
    with staged_file(out) as staging:
        if format_name == "parquet":
            _join_parquet(ordered, staging)
        else:
            _join_text(ordered, staging, headers=format_name == "csv")
    return sum((states[path].stats or RunStats() for path in ordered), RunStats())


def _load_state(results: Path) -> JobState:
    folder = job_folder_path(results)
    state = JobState.load(folder) if results.exists() else None
    if state is None:
        problem = f"{folder.name} is missing beside it" if results.exists() else "no such file"
        raise BatchError(f"{results}: {problem}; give the results of `classify --num-shards`")
    if state.results is None:
        raise BatchError(f"{results} is not finished; run its task again")
    if results_fingerprint(results) != state.results:
        raise BatchError(f"{results} was changed after it was written; run its task again")
    return state


def _sort_by_shard(states: dict[Path, JobState]) -> list[Path]:
    """The results in shard order; every shard must be there exactly once."""
    by_index: dict[int, Path] = {}
    count = 0
    for path, state in states.items():
        index, count = map(int, str(state.settings["shard"]).split(" of "))
        if index in by_index:
            raise BatchError(f"{path} and {by_index[index]} are the same shard; give each once")
        by_index[index] = path
    missing = [str(index) for index in range(count) if index not in by_index]
    if missing:
        raise BatchError(
            f"missing shards of {count}: {', '.join(missing[:20])}; run those tasks, or give their "
            "results too"
        )
    return [by_index[index] for index in sorted(by_index)]


def _join_text(shard_results: Sequence[Path], staging: Path, *, headers: bool) -> None:
    with staging.open("wb") as joined:
        for number, path in enumerate(shard_results):
            with path.open("rb") as file:
                if headers and number:
                    file.readline()
                shutil.copyfileobj(file, joined, 1 << 20)


def _join_parquet(shard_results: Sequence[Path], staging: Path) -> None:
    parquet = import_pyarrow().parquet
    schema = parquet.read_schema(shard_results[0])
    with parquet.ParquetWriter(staging, schema) as writer:
        for path in shard_results:
            file = parquet.ParquetFile(path)
            for group in range(file.num_row_groups):
                writer.write_table(file.read_row_group(group))
