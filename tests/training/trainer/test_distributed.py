"""Several processes give the result of one, also when one of them is killed and restarted."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from earful.data.dataset.dataset import Dataset
from earful.training.config.train_config import TrainingError, default_config
from earful.training.trainer.checkpoint import BEST_CHECKPOINT, LAST_CHECKPOINT, load_checkpoint
from earful.training.trainer.distributed import DistributedContext, detect_distributed
from earful.training.trainer.trainer import fit
from tests.fixtures.forked_command import ForkedCommand
from tests.fixtures.ports import free_port
from tests.fixtures.synthetic_audio import one_torch_thread

BINARIES = Path(sys.executable).parent
# Everything that has per-shard state: dropout, batch statistics, augmentation, a moving average.
TWO_SHARD_CONFIG = replace(default_config("tcresnet"), epochs=3, batch_size=16, shards=2)


def children_of(process: int) -> Iterator[int]:
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # the process ended meanwhile
        if int(fields[1]) == process:
            yield int(status.parent.name)


@pytest.mark.slow
def test_distributed_run_with_a_killed_process_equals_a_single_process_run(
    short_tones: Dataset, tmp_path: Path
) -> None:
    with one_torch_thread():  # as in each of the two: with more threads sums round differently
        alone = fit(short_tones, tmp_path / "alone", TWO_SHARD_CONFIG)
    torchrun = [str(BINARIES / "torchrun"), "--nproc-per-node", "2", "--max-restarts", "1"]
    torchrun += ["--standalone", "--monitor-interval", "0.2", "--no-python"]
    train = [str(BINARIES / "earful"), "train", str(short_tones.folder)]
    train += ["--out", str(tmp_path / "two")]
    train += ["--model", "tcresnet", "--epochs", "3", "--batch-size", "16", "--device", "cpu"]
    run = subprocess.Popen(
        [*torchrun, *train, "--resume"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"},
    )
    assert run.stderr is not None
    try:
        for line in run.stderr:
            if line.startswith("epoch   1/3"):
                os.kill(max(children_of(run.pid)), signal.SIGKILL)
                break
        output, errors = run.communicate(timeout=120)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
    assert run.returncode == 0, errors
    assert "exitcode: -9" in errors  # of the one that was killed: it had not ended before
    assert "Traceback" not in errors
    assert errors.count("epoch   3/3") == 1  # only process 0 prints
    assert output.count("test accuracy") == 1
    last = load_checkpoint(tmp_path / "two" / LAST_CHECKPOINT)
    for record, expected in zip(last.history, alone.checkpoint.history, strict=True):
        assert record.loss == pytest.approx(expected.loss, abs=1e-4)
        assert record.val_loss == pytest.approx(expected.val_loss, abs=1e-4)
    weights = load_checkpoint(tmp_path / "two" / BEST_CHECKPOINT).weights
    expected_weights = load_checkpoint(tmp_path / "alone" / BEST_CHECKPOINT).weights
    for name, expected in expected_weights.items():
        if not expected.is_floating_point():
            continue  # the number of forward passes, which nothing depends on
        torch.testing.assert_close(weights[name], expected, atol=1e-4, rtol=1e-3)


def start_process(rank: int, port: int, train: list[object]) -> ForkedCommand:
    """Start a process as torchrun would."""
    torchrun_environment = {
        "TORCHELASTIC_RUN_ID": "two",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": "2",
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "OMP_NUM_THREADS": "1",
    }
    return ForkedCommand(
        ["train", *train],
        environment=torchrun_environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )


@pytest.mark.slow
def test_surviving_process_reports_that_its_peer_was_killed(
    short_tones: Dataset, tmp_path: Path
) -> None:
    """Not under torchrun, which may end the process before it reports."""
    train: list[object] = [short_tones.folder, "--out", tmp_path / "two", "--model", "tcresnet"]
    train += ["--epochs", "200", "--batch-size", "16", "--device", "cpu"]
    port = free_port()
    with start_process(0, port, train) as first, start_process(1, port, train) as second:
        assert first.stderr is not None
        try:
            for line in first.stderr:
                if line.startswith("epoch   1/200"):
                    break
            second.kill()
            _, errors = first.communicate(timeout=120)
        finally:
            first.kill()
            second.kill()
    assert first.returncode == 2
    assert "process 0 lost the other processes" in errors
    assert "restart all of them with --resume" in errors
    assert "Traceback" not in errors


def test_shards_are_divided_evenly_or_refused() -> None:
    assert [list(DistributedContext(rank, 3).shard_range(6)) for rank in range(3)] == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]
    message = "4 shards of a batch cannot be divided evenly among 3 processes"
    with pytest.raises(TrainingError, match=message):
        DistributedContext(0, 3).shard_range(4)


def test_without_torchrun_there_is_one_process() -> None:
    dist_context = detect_distributed()
    assert (dist_context.rank, dist_context.world_size) == (0, 1)
    assert dist_context.is_main_process
    assert float(dist_context.total(torch.tensor(3.0))) == 3.0


def test_shards_change_the_statistics_and_not_the_clips(tones: Dataset, tmp_path: Path) -> None:
    """The classic network without dropout has no per-shard state."""
    plain = replace(default_config("cnn"), epochs=2, batch_size=16, options={"dropout": 0.0})
    whole = fit(tones, tmp_path / "whole", plain).checkpoint.history
    sharded = fit(tones, tmp_path / "sharded", replace(plain, shards=4)).checkpoint.history
    for one, four in zip(whole, sharded, strict=True):
        assert four.loss == pytest.approx(one.loss, abs=1e-5)
        assert four.val_loss == pytest.approx(one.val_loss, abs=1e-5)


def test_more_shards_than_clips_are_refused(tones: Dataset, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="cannot be split into 64 shards"):
        fit(tones, tmp_path, replace(TWO_SHARD_CONFIG, batch_size=64, shards=64))
    with pytest.raises(TrainingError, match="a batch of 16 clips cannot be split"):
        replace(TWO_SHARD_CONFIG, shards=17)
