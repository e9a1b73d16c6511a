"""Worker processes: a crashing or hanging decoder costs only the file that caused it."""

import hashlib
import os
import signal
import subprocess
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from earful.service.batch import worker
from earful.service.batch.chunks import part_path, write_inputs
from earful.service.batch.errors import BatchError
from earful.service.batch.inputs import find_inputs
from earful.service.batch.items import ClassifyOptions
from earful.service.batch.settled_rows import RunStats
from earful.service.batch.worker import Worker, WorkerConfig
from tests.fixtures.forked_command import ForkedCommand
from tests.fixtures.synthetic_audio import noise, wav
from tests.fixtures.waiting import cpu_seconds, open_files, wait_until
from tests.service.batch.conftest import rows

Process = Callable[..., "subprocess.CompletedProcess[str]"]
CRASHING = Path(__file__).parents[2] / "fixtures" / "crashing"
FLAC = b"fLaC" + bytes(100)


@pytest.mark.slow
def test_a_file_that_crashes_its_decoder_is_quarantined_and_the_rest_is_classified(
    process: Process, model: Path, many_files: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.csv"
    (many_files / "0100a.flac").write_bytes(FLAC + b"CRASH")
    (many_files / "0200a.flac").write_bytes(FLAC + b"CRASH")
    environment = {"PYTHONPATH": f"{CRASHING}:{Path.cwd()}"}
    arguments = ["classify", many_files, "--model", model, "--out", out]
    done = process(*arguments, environment=environment, code=1)
    assert "297 of 302 files classified, 5 failed (3 unsupported_format, 2 decoder_crashed)" in (
        done.stderr
    )
    errors = {Path(r["filename"]).name: r["error"] for r in rows(out) if r["status"] == "error"}
    assert errors["0100a.flac"].startswith("decoder_crashed: ")
    assert "SIGSEGV" in errors["0200a.flac"]
    assert len(rows(out)) == 302


@pytest.mark.slow
def test_a_decoder_that_hangs_is_killed(
    model: Path, tones: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tones / "a.flac").write_bytes(FLAC + b"HANGS")
    monkeypatch.setenv("PYTHONPATH", f"{CRASHING}:{Path.cwd()}")
    monkeypatch.setattr(worker, "_POLL_SECONDS", 0.1)
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    stats = run_single_chunk(
        WorkerConfig(tmp_path, model, sha256, ClassifyOptions(), stall_seconds=3), tones
    )
    assert stats == RunStats(4, stats.seconds, {"timed_out": 1})


def test_model_replaced_during_a_run_stops_it(model: Path, tones: Path, tmp_path: Path) -> None:
    with pytest.raises(BatchError, match="was replaced during the run"):
        run_single_chunk(WorkerConfig(tmp_path, model, "0" * 64, ClassifyOptions()), tones)


def new_workers(running: ForkedCommand, killed: list[int], read: Path | None) -> list[int]:
    """The workers that took the place of the killed ones, once each is within this file."""
    assert running.poll() is None, "the run ended"
    # A killed worker is listed until its parent has noticed.
    workers = [pid for pid in workers_of(running.pid) if pid not in killed]
    if read is None:
        return workers
    within = all(read in open_files(pid) and cpu_seconds(pid) > 0.5 for pid in workers)
    return workers if within else []


@pytest.mark.slow
def test_a_worker_killed_from_outside_costs_no_file(
    process: Process, model: Path, tmp_path: Path
) -> None:
    recording = tmp_path / "a.wav"
    recording.write_bytes(wav(noise(30 * 60, 0.1)))
    copies = [recording] * 4
    arguments = ["classify", *copies, "--model", model, "--mode", "windows"]
    out = tmp_path / "r.csv"
    killed: list[int] = []
    with ForkedCommand([*arguments, "--out", out]) as running:
        for read in (None, recording):  # while it starts, and while it classifies
            workers = wait_until(partial(new_workers, running, killed, read))
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
            killed += workers
    assert len(killed) >= 2
    assert running.returncode == 0
    written = rows(out)
    assert {row["status"] for row in written} == {"ok"}
    assert len(written) == len(copies) * (4 * 1800 - 3)


@pytest.mark.slow
def test_workers_end_with_a_parent_that_was_killed(model: Path, tmp_path: Path) -> None:
    recording = tmp_path / "a.wav"
    recording.write_bytes(wav(noise(10 * 60, 0.1)))
    arguments = ["classify", *[recording] * 60, "--model", model, "--mode", "windows"]
    with ForkedCommand([*arguments, "--out", tmp_path / "r.csv"]) as running:
        workers = wait_until(lambda: workers_of(running.pid))
        wait_until(lambda: all(recording in open_files(pid) for pid in workers))
        running.kill()
    wait_until(lambda: not any(Path(f"/proc/{pid}/stat").exists() for pid in workers))


def run_single_chunk(config: WorkerConfig, folder: Path) -> RunStats:
    """Classify the only chunk of a folder with a worker."""
    [chunk] = write_inputs(config.folder, find_inputs([str(folder)])).chunks
    started = Worker(config)
    try:
        stats = started.run(chunk)
    finally:
        started.stop()
    assert part_path(config.folder, chunk).exists()
    return stats


def workers_of(pid: int) -> list[int]:
    """The worker processes of a run."""
    pids = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            command = (entry / "cmdline").read_bytes()
        except (OSError, IndexError):
            continue
        if parent == pid and b"spawn_main" in command:
            pids.append(int(entry.name))
    return pids
