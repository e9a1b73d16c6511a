"""A run split into shards, or on Ray, gives the same rows as a single local run."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from earful.data.errors import EarfulError
from earful.service.batch.chunks import InputChunk, select_chunks
from earful.service.batch.request import ShardSpec
from earful.service.batch.scheduler import find_shard
from tests.fixtures.synthetic_audio import wav
from tests.service.batch.conftest import day

Process = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_merged_shards_equal_a_single_run(
    process: Process, model: Path, many_files: Path, tmp_path: Path, suffix: str
) -> None:
    whole, out, merged = (tmp_path / f"{name}.{suffix}" for name in ("whole", "out", "joined"))
    (many_files / "0123-day.wav").write_bytes(wav(day()))
    arguments = ["classify", many_files, "--model", model, "--top-k", 2, "--workers", 1]
    process(*arguments, "--out", whole, code=1)
    shard_files = []
    for index in (1, 0, 2):
        process(*arguments, "--out", out, "--shard-index", index, "--num-shards", 3, code=1)
        shard_files.append(tmp_path / f"out-{index:05}-of-00003.{suffix}")
    merged_run = process("merge", *shard_files, "--out", merged, code=1)
    assert "298 of 301 files classified" in merged_run.stderr
    assert read(merged) == read(whole)


def read(path: Path) -> object:
    if path.suffix == ".parquet":
        from pyarrow import parquet

        return parquet.read_table(path).to_pylist()
    return path.read_bytes()


@pytest.mark.slow
def test_mismatched_shards_are_refused(
    process: Process, model: Path, many_files: Path, tones: Path, tmp_path: Path
) -> None:
    def classify_shard(folder: Path, out: str, index: int) -> Path:
        arguments = ["--model", model, "--out", tmp_path / out, "--workers", 1]
        shard = ["--shard-index", index, "--num-shards", 2]
        done = process("classify", folder, *arguments, *shard, code=int(folder == many_files))
        assert f"shard {index} of 2" in done.stderr
        return tmp_path / out.replace(".", f"-{index:05}-of-00002.")

    first, second, other = (
        classify_shard(many_files, "a.csv", 0),
        classify_shard(many_files, "a.csv", 1),
        classify_shard(tones, "b.csv", 1),
    )

    def merge_error(*shard_files: Path) -> str:
        return process("merge", *shard_files, "--out", tmp_path / "m.csv", code=2).stderr

    assert (
        "give the name of a .csv file"
        in process("merge", first, second, "--out", tmp_path / "m.parquet", code=2).stderr
    )
    assert "missing shards of 2: 1;" in merge_error(first)
    assert "is from another run" in merge_error(first, other)
    assert "no such file" in merge_error(first, tmp_path / "none.csv")
    link = tmp_path / "twice.csv"
    link.symlink_to(first)
    Path(f"{link}.job").symlink_to(f"{first}.job", target_is_directory=True)
    assert "are the same shard" in merge_error(first, link)
    (tmp_path / "a-00001-of-00002.csv.job" / "job.json").unlink()
    assert "is missing beside it" in merge_error(first, second)
    first.write_text("edited", encoding="utf-8")
    assert "was changed after it was written" in merge_error(first, other)


def slurm(task_id: int, count: int, **more: int) -> dict[str, str]:
    """Slurm's environment of an array task."""
    values = {"id": task_id, "count": count, **more}
    return {f"SLURM_ARRAY_TASK_{name.upper()}": str(value) for name, value in values.items()}


AWS_TASK = {"AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": "3"}
POD = {"JOB_COMPLETION_INDEX": "3"}


@pytest.mark.parametrize(
    ("environment", "index", "count", "expected"),
    [
        ({}, None, None, (0, 1, "")),
        ({}, 2, 5, (2, 5, "")),
        (slurm(7, 4, min=5), None, None, (2, 4, "SLURM_ARRAY_TASK_ID")),
        (AWS_TASK, None, None, (0, 3, "AWS_BATCH_JOB_ARRAY_INDEX")),
        (POD, None, 8, (3, 8, "JOB_COMPLETION_INDEX")),
        (slurm(3, 1, min=3), None, 10, (3, 10, "SLURM_ARRAY_TASK_ID")),
        (slurm(4, 3, min=0, step=2), None, None, (2, 3, "SLURM_ARRAY_TASK_ID")),
        (POD, None, 1, (0, 1, "")),
        (slurm(7, 9), None, 1, (0, 1, "")),
    ],
)
def test_scheduler_variables_select_the_shard(
    environment: dict[str, str],
    index: int | None,
    count: int | None,
    expected: tuple[int, int, str],
) -> None:
    shard_spec, variable = find_shard(index, count, environment)
    assert (shard_spec.index, shard_spec.count, variable) == expected


@pytest.mark.parametrize(
    ("index", "count", "message"),
    [(3, 3, "out of range"), (1, None, "give --num-shards"), (None, 4, "needs --shard-index")],
)
def test_invalid_shard_numbers_are_refused(
    index: int | None, count: int | None, message: str
) -> None:
    with pytest.raises(EarfulError, match=message):
        find_shard(index, count, {})


def test_pod_index_without_a_shard_count_is_refused() -> None:
    with pytest.raises(EarfulError, match="from JOB_COMPLETION_INDEX"):
        find_shard(None, None, {"JOB_COMPLETION_INDEX": "3"})


@pytest.mark.parametrize("n_chunks", [0, 1, 5, 100])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_work_is_dealt_evenly_and_completely_to_the_shards(n_chunks: int, count: int) -> None:
    chunks = [InputChunk(n, 10 * n, 10, 0) for n in range(n_chunks)]
    parts = [select_chunks(chunks, ShardSpec(index, count)) for index in range(count)]
    assert [chunk for part in parts for chunk in part] == chunks
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.slow
def test_ray_gives_the_same_rows(
    process: Process, model: Path, many_files: Path, tmp_path: Path
) -> None:
    local, on_ray = tmp_path / "local.jsonl", tmp_path / "ray.jsonl"
    (many_files / "0123-day.wav").write_bytes(wav(day()))
    arguments = ["--engine", "ray", "--out", on_ray]
    # Relative to the working folder of the command, which Ray's processes do not share.
    done = process(
        "classify", many_files.name, "--model", model, *arguments, code=1, cwd=many_files.parent
    )
    process(
        "classify", many_files.name, "--model", model, "--out", local, code=1, cwd=many_files.parent
    )
    assert "298 of 301 files classified, 3 failed" in done.stderr
    assert on_ray.read_bytes() == local.read_bytes()


@pytest.mark.slow
def test_missing_ray_cluster_is_an_error(process: Process, model: Path, tones: Path) -> None:
    arguments = ["--engine", "ray", "--ray-address", "127.0.0.1:1", "--out", tones / "r.csv"]
    failed = process("classify", tones, "--model", model, *arguments, code=2)
    assert "no Ray cluster at 127.0.0.1:1" in failed.stderr
    failed = process("classify", tones, "--model", model, "--ray-address", "x", code=2)
    assert "goes with --engine ray" in failed.stderr
