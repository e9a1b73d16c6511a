"""The results of a scheduler's tasks, put together as if one run had made them."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from earful.data.atomic_write import staged_file
from earful.service.batch.errors import BatchError
from earful.service.batch.formats import FILE_SUFFIXES, import_pyarrow, output_format
from earful.service.batch.output_folder import check_output, results_fingerprint, job_folder_path
from earful.service.batch.shards import JobState, RunStats


def merge_results(shard_results: Sequence[Path], out: Path) -> RunStats:
    """Join the results of all pieces of a run, in their order, into ``out``.

    Raises:
        BatchError: a piece that is missing, unfinished, twice, or of another run.
        OutputError: ``out`` cannot be written.
    """
    states = {path: _load_state(path) for path in shard_results}
    first = states[shard_results[0]]
    format_name = str(first.settings["format"])
    if format_name not in FILE_SUFFIXES.values():
        raise BatchError(f"{format_name} is not merged: each recording has a file of its own already")
    if output_format(out, None) != format_name:
        raise BatchError(f"the pieces are {format_name}; give the name of a .{format_name} file as --out")
    for path, state in states.items():
        changed = first.differences(state, ignoring="shard")
        if changed:
            raise BatchError(f"{path} is of another run than {shard_results[0]}: {'; '.join(changed)}")
    ordered = _sort_by_shard(states)
    check_output(out, format_name)
    with staged_file(out) as staging:
        if format_name == "parquet":
            _join_parquet(ordered, staging)
        else:
            _join_text(ordered, staging, headers=format_name == "csv")
    return sum((RunStats(**(states[path].stats or {})) for path in ordered), RunStats())


def _load_state(results: Path) -> JobState:
    folder = job_folder_path(results)
    state = JobState.load(folder) if results.exists() else None
    if state is None:
        what = f"{folder.name} is missing beside it" if results.exists() else "no such file"
        raise BatchError(f"{results}: {what}; give the results of `classify --num-shards`")
    if state.results is None:
        raise BatchError(f"{results} is not finished; run its task again")
    if results_fingerprint(results) != state.results:
        raise BatchError(f"{results} was changed after it was written; run its task again")
    return state


def _sort_by_shard(states: dict[Path, JobState]) -> list[Path]:
    """The pieces from the first to the last, each once."""
    found: dict[int, Path] = {}
    count = 0
    for path, state in states.items():
        index, _, text = str(state.settings["shard"]).partition(" of ")
        count = int(text)
        if int(index) in found:
            raise BatchError(f"{path} and {found[int(index)]} are the same piece; give each once")
        found[int(index)] = path
    missing = [str(index) for index in range(count) if index not in found]
    if missing:
        raise BatchError(
            f"of {count} pieces {', '.join(missing[:20])} {'is' if len(missing) == 1 else 'are'} "
            "missing; run those tasks, or name their results too"
        )
    return [found[index] for index in sorted(found)]


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
