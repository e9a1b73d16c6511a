"""A run in pieces, and on Ray, gives the rows of a run as a whole."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from earful.data.errors import EarfulError
from earful.service.batch.scheduler import Piece, find_piece
from earful.service.batch.shards import Shard

Process = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_pieces_put_together_are_the_whole(
    process: Process, model: Path, many: Path, tmp_path: Path, suffix: str
) -> None:
    whole, out, joined = (tmp_path / f"{name}.{suffix}" for name in ("whole", "out", "joined"))
    arguments = ["classify", many, "--model", model, "--top-k", 2]
    process(*arguments, "--out", whole, code=1)
    pieces = []
    for index in (1, 0, 2):
        process(*arguments, "--out", out, "--shard-index", index, "--num-shards", 3, code=1)
        pieces.append(tmp_path / f"out-{index:05}-of-00003.{suffix}")
    told = process("merge", *pieces, "--out", joined, code=1)
    assert "297 of 300 files classified" in told.stderr
    assert read(joined) == read(whole)


def read(path: Path) -> object:
    if path.suffix == ".parquet":
        from pyarrow import parquet

        return parquet.read_table(path).to_pylist()
    return path.read_bytes()


def test_pieces_that_do_not_fit_are_refused(
    process: Process, model: Path, many: Path, tones: Path, tmp_path: Path
) -> None:
    def piece(folder: Path, out: str, index: int) -> Path:
        arguments = ["--model", model, "--out", tmp_path / out, "--shard-index", index]
        done = process("classify", folder, *arguments, "--num-shards", 2, code=int(folder == many))
        assert f"shard {index} of 2" in done.stderr
        return tmp_path / out.replace(".", f"-{index:05}-of-00002.")

    first, second, other = (
        piece(many, "a.csv", 0),
        piece(many, "a.csv", 1),
        piece(tones, "b.csv", 1),
    )

    def told(*pieces: Path) -> str:
        return process("merge", *pieces, "--out", tmp_path / "m.csv", code=2).stderr

    assert (
        "give the name of a .csv file"
        in process("merge", first, second, "--out", tmp_path / "m.parquet", code=2).stderr
    )
    assert "of 2 pieces 1 is missing" in told(first)
    assert "is of another run" in told(first, other)
    assert "no such file" in told(first, tmp_path / "none.csv")
    link = tmp_path / "twice.csv"
    link.symlink_to(first)
    Path(f"{link}.job").symlink_to(f"{first}.job", target_is_directory=True)
    assert "are the same piece" in told(first, link)
    (tmp_path / "a-00001-of-00002.csv.job" / "job.json").unlink()
    assert "is missing beside it" in told(first, second)
    first.write_text("edited", encoding="utf-8")
    assert "was changed after it was written" in told(first, other)


@pytest.mark.parametrize(
    ("environment", "index", "count", "found"),
    [
        ({}, None, None, (0, 1, "")),
        ({}, 2, 5, (2, 5, "")),
        (
            {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "4",
             "SLURM_ARRAY_TASK_MIN": "5"},
            None, None, (2, 4, "SLURM_ARRAY_TASK_ID"),
        ),
        (
            {"AWS_BATCH_JOB_ARRAY_INDEX": "0", "AWS_BATCH_JOB_ARRAY_SIZE": "3"},
            None, None, (0, 3, "AWS_BATCH_JOB_ARRAY_INDEX"),
        ),
        ({"JOB_COMPLETION_INDEX": "3"}, None, 8, (3, 8, "JOB_COMPLETION_INDEX")),
        (
            {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "1",
             "SLURM_ARRAY_TASK_MIN": "3"},
            None, 10, (3, 10, "SLURM_ARRAY_TASK_ID"),
        ),
        (
            {"SLURM_ARRAY_TASK_ID": "4", "SLURM_ARRAY_TASK_COUNT": "3",
             "SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_STEP": "2"},
            None, None, (2, 3, "SLURM_ARRAY_TASK_ID"),
        ),
        ({"JOB_COMPLETION_INDEX": "3"}, None, 1, (0, 1, "")),
        ({"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_COUNT": "9"}, None, 1, (0, 1, "")),
    ],
)  # fmt: skip
def test_schedulers_say_which_piece(
    environment: dict[str, str], index: int | None, count: int | None, found: tuple[int, int, str]
) -> None:
    piece, variable = find_piece(index, count, environment)
    assert (piece.index, piece.count, variable) == found


@pytest.mark.parametrize(
    ("index", "count", "told"),
    [(3, 3, "out of range"), (1, None, "Give --num-shards"), (None, 4, "needs --shard-index")],
)
def test_numbers_that_do_not_fit(index: int | None, count: int | None, told: str) -> None:
    with pytest.raises(EarfulError, match=told):
        find_piece(index, count, {})


def test_a_pod_that_does_not_know_how_many_there_are_is_told() -> None:
    with pytest.raises(EarfulError, match="by JOB_COMPLETION_INDEX"):
        find_piece(None, None, {"JOB_COMPLETION_INDEX": "3"})


@pytest.mark.parametrize("n_shards", [0, 1, 5, 100])
@pytest.mark.parametrize("count", [1, 2, 7])
def test_every_shard_is_in_one_piece(n_shards: int, count: int) -> None:
    shards = [Shard(n, 10 * n, 10, 0) for n in range(n_shards)]
    parts = [Piece(index, count).of(shards) for index in range(count)]
    assert [shard for part in parts for shard in part] == shards
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.slow
def test_ray_gives_the_same_rows(process: Process, model: Path, many: Path, tmp_path: Path) -> None:
    local, on_ray = tmp_path / "local.jsonl", tmp_path / "ray.jsonl"
    arguments = ["--engine", "ray", "--out", on_ray]
    # Named from where the command is given, which is not where Ray's processes are.
    done = process("classify", many.name, "--model", model, *arguments, code=1, cwd=many.parent)
    process("classify", many.name, "--model", model, "--out", local, code=1,
            cwd=many.parent)  # fmt: skip
    assert "297 of 300 files classified, 3 failed" in done.stderr
    assert on_ray.read_bytes() == local.read_bytes()


def test_a_cluster_that_is_not_there_is_told(process: Process, model: Path, tones: Path) -> None:
    arguments = ["--engine", "ray", "--ray-address", "127.0.0.1:1", "--out", tones / "r.csv"]
    told = process("classify", tones, "--model", model, *arguments, code=2)
    assert "no Ray cluster at 127.0.0.1:1" in told.stderr
    told = process("classify", tones, "--model", model, "--ray-address", "x", code=2)
    assert "goes with --engine ray" in told.stderr
