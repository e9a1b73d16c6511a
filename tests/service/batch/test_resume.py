"""Killed, changed and repeated runs: nothing is lost, and nothing is done twice."""

import contextlib
import fcntl
import json
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tests.fixtures.forked_command import ForkedCommand
from tests.fixtures.synthetic_audio import noise, tone, wav
from tests.service.batch.conftest import DAY_SOUNDS, day, rows

pytestmark = pytest.mark.slow

Process = Callable[..., "subprocess.CompletedProcess[str]"]
KILLS = 8


def test_run_killed_at_random_moments_gives_the_same_results(
    process: Process, model: Path, many_files: Path, tmp_path: Path
) -> None:
    whole, out = tmp_path / "whole.csv", tmp_path / "killed.csv"
    (many_files / "0100-day.wav").write_bytes(wav(day()))  # gives several rows
    # The same files several times, so that a run takes long enough to be killed.
    arguments = ["classify", *[many_files] * 4, "--model", model]
    process(*arguments, "--out", whole, code=1)
    expected = whole.read_bytes()
    moments = random.Random(5)
    killed, before, longest = 0, 0, 0
    while killed < KILLS:
        running = ForkedCommand([*arguments, "--out", out], stderr=subprocess.DEVNULL)
        finished = tmp_path / "killed.csv.job" / "parts"
        wanted = before + moments.randrange(3)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.wait(moments.uniform(0, 0.5))
        while running.poll() is None and len(list(finished.glob("*.jsonl"))) < wanted:
            time.sleep(0.005)
        running.kill()
        killed += running.wait() == -signal.SIGKILL
        if out.exists():  # finished, or killed after its last rename: start over
            assert out.read_bytes() == expected
            out.unlink()
            before = 0
            continue
        before = len(list(finished.glob("*.jsonl")))
        longest = max(longest, before)
    assert longest > 1, "no run was killed after it had finished a chunk: nothing was tested"
    done = process(*arguments, "--out", out, code=1)
    assert out.read_bytes() == expected
    assert before == 0 or "finished before" in done.stderr
    assert list(tmp_path.rglob(".*")) == []
    assert sorted(p.name for p in (tmp_path / "killed.csv.job").iterdir()) == ["job.json", "lock"]


def test_a_finished_run_is_not_repeated_and_reports_the_same(
    process: Process, model: Path, many_files: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.csv"
    arguments = ["classify", many_files, "--model", model, "--workers", 1, "--out", out]
    first = process(*arguments, code=1)
    assert "297 of 300 files classified, 3 failed (3 unsupported_format)" in first.stderr
    written = out.stat().st_mtime_ns
    again = process(*arguments, code=1)
    assert "nothing to do: 297 of 300 files classified, 3 failed" in again.stderr
    assert out.stat().st_mtime_ns == written
    out.unlink()  # deleted results are written again
    assert "nothing to do" not in process(*arguments, code=1).stderr
    assert len(rows(out)) == 300


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--top-k", "2", "--mode", "windows"], "mode None -> windows; top_k 1 -> 2"),
    ],
)
def test_other_settings_are_refused_until_a_restart(
    process: Process, model: Path, tones: Path, tmp_path: Path, change: list[str], message: str
) -> None:
    out = tmp_path / "r.csv"
    arguments = ["classify", tones, "--model", model, "--out", out]
    process(*arguments)
    before = out.read_bytes()
    refused = process(*arguments, *change, code=2)
    assert message in refused.stderr
    assert "--restart" in refused.stderr
    assert out.read_bytes() == before
    process(*arguments, *change, "--restart")
    assert "nothing to do" in process(*arguments, *change).stderr


def test_changed_inputs_are_refused_until_a_restart(
    process: Process, model: Path, tones: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.csv"
    arguments = ["classify", tones, "--model", model, "--out", out]
    process(*arguments)
    (tones / "more.wav").write_bytes(wav(tone("low")))
    assert "the inputs (3 -> 4)" in process(*arguments, code=2).stderr
    (tones / "more.wav").unlink()
    assert "nothing to do" in process(*arguments).stderr
    (tones / "low.wav").write_bytes(wav(tone("high")))
    assert "but not the same or changed" in process(*arguments, code=2).stderr
    process(*arguments, "--restart")
    assert [row["label"] for row in rows(out)] == ["high", "high", "mid"]


def test_edited_results_are_not_overwritten(
    process: Process, model: Path, tones: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.csv"
    arguments = ["classify", tones, "--model", model, "--out", out]
    process(*arguments)
    out.write_text("corrected by hand\n", encoding="utf-8")
    assert "was changed after it was written" in process(*arguments, code=2).stderr
    assert out.read_text("utf-8") == "corrected by hand\n"
    process(*arguments, "--restart")
    assert len(rows(out)) == 3


def test_damaged_part_is_recomputed(
    process: Process, model: Path, many_files: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.csv"
    arguments = ["classify", *[many_files] * 4, "--model", model, "--out", out]
    with ForkedCommand(arguments, stderr=subprocess.DEVNULL) as running:
        parts = tmp_path / "r.csv.job" / "parts"
        while running.poll() is None and len(list(parts.glob("*.jsonl"))) < 3:
            time.sleep(0.02)
        running.kill()
    first, second, *_ = sorted(parts.glob("*.jsonl"))
    first.write_bytes(b"")
    second.write_bytes(second.read_bytes()[:-40])
    process(*arguments, code=1)
    assert len(rows(out)) == 1_200


def test_results_cannot_overwrite_their_inputs(process: Process, model: Path, tones: Path) -> None:
    labels = tones / "labels.csv"
    labels.write_text("file,label\nlow.wav,low\n", encoding="utf-8")
    failed = process("classify", labels, "--model", model, "--out", labels, code=2)
    assert "is one of the inputs" in failed.stderr
    process("classify", labels, "--model", model, "--out", tones / "r.csv")
    failed = process("report", tones / "r.csv", "--out", tones / "r.csv", code=2)
    assert "is the results file" in failed.stderr
    failed = process(
        "classify", labels, "--model", model, "--out", "/dev/stdout", "--format", "csv", code=2
    )
    assert "is a device" in failed.stderr
    assert labels.read_text("utf-8").startswith("file,label")


def test_second_run_on_the_same_results_is_refused(
    process: Process, model: Path, tones: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.csv"
    arguments = ["classify", tones, "--model", model, "--out", out]
    process(*arguments)
    with (tmp_path / "r.csv.job" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert "another run uses" in process(*arguments, code=2).stderr
    process(*arguments)


def test_damaged_job_state_is_reported_and_can_be_restarted(
    process: Process, model: Path, tones: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.csv"
    arguments = ["classify", tones, "--model", model, "--out", out]
    process(*arguments)
    (tmp_path / "r.csv.job" / "job.json").write_text("{", encoding="utf-8")
    assert "start over with --restart" in process(*arguments, code=2).stderr
    process(*arguments, "--restart")


def test_a_full_disk_keeps_finished_chunks(
    process: Process, model: Path, many_files: Path, tmp_path: Path
) -> None:
    """A limit on the file size makes writes fail as on a full disk."""
    out, whole, long = tmp_path / "r.csv", tmp_path / "whole.csv", tmp_path / "long.wav"
    long.write_bytes(wav(noise(600, 0.1)))
    arguments = ["classify", many_files, long, "--model", model, "--mode", "windows"]

    limit = (100_000, resource.RLIM_INFINITY)
    full_disk = partial(resource.setrlimit, resource.RLIMIT_FSIZE, limit)
    full = process(*arguments, "--out", out, code=2, before=full_disk)
    assert "cannot write" in full.stderr
    assert "run the same command again" in full.stderr
    assert not out.exists()
    assert list((tmp_path / "r.csv.job" / "parts").iterdir())
    done = process(*arguments, "--out", out, code=1)
    assert "were finished before" in done.stderr
    process(*arguments, "--out", whole, code=1)
    assert out.read_bytes() == whole.read_bytes()


def test_the_number_of_workers_changes_no_row(
    process: Process, model: Path, many_files: Path, tmp_path: Path
) -> None:
    for number in (20, 250):
        (many_files / f"{number:04}-day.wav").write_bytes(wav(day()))
    results = []
    for workers in (1, 2):
        out = tmp_path / f"{workers}.jsonl"
        arguments = ["classify", many_files, "--model", model, "--workers", workers]
        process(*arguments, "--out", out, code=1)
        results.append(out.read_bytes())
    assert results[0] == results[1]
    assert len(results[0].splitlines()) == 300 + 2 * len(DAY_SOUNDS)


def test_run_interrupted_by_ctrl_c_resumes(
    process: Process, model: Path, many_files: Path, tmp_path: Path
) -> None:
    out = tmp_path / "r.csv"
    arguments = ["classify", *[many_files] * 4, "--model", model, "--out", out]
    with ForkedCommand(arguments, stderr=subprocess.PIPE) as running:
        parts = tmp_path / "r.csv.job" / "parts"
        while running.poll() is None and not list(parts.glob("*.jsonl")):
            time.sleep(0.02)
        running.send_signal(2)
        _, stderr = running.communicate(timeout=60)
    assert "Traceback" not in stderr
    assert running.returncode == 130
    process(*arguments, code=1)
    state = json.loads((tmp_path / "r.csv.job" / "job.json").read_text("utf-8"))
    assert state["stats"]["inputs"] == len(rows(out)) == 1_200
