"""Model files that do harm are refused when they are opened, each in a sentence."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import onnx
import pytest

from earful.models.bundle import session_calls, trial
from earful.models.bundle.bundle import open_bundle
from earful.models.bundle.call_watcher import CallWatcher
from earful.models.bundle.metadata import ModelError, ModelUnreadable
from earful.models.bundle.runtime import error_line
from earful.models.bundle.session_calls import ModelTimeout, run_session
from earful.models.bundle.trial import try_model
from earful.models.registry.shipped import SHIPPED_MODELS
from tests.fixtures.hostile_models import (
    allocates_terabytes,
    folds_for_ever,
    hostile_model,
    loops_on,
    reads_another_file,
    set_metadata,
    wider_scores,
)

MODEL = SHIPPED_MODELS["digits-small"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        loops_on(other_input_only=False),
        loops_on(other_input_only=False, depth=2),
    ],
    ids=["loop", "nested loop"],
)
def test_a_model_that_never_ends_is_stopped(
    change: Callable[[onnx.ModelProto], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_calls, "RUN_SECONDS", 0.5)
    path = hostile_model(MODEL, tmp_path / "endless.onnx", change)
    with pytest.raises(ModelTimeout, match=r"endless.onnx was stopped: .* within 0.5 s"):
        open_bundle(path)


@pytest.mark.slow
def test_calls_that_end_in_time_are_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A call of another thread that is stopped does not stop this one."""
    monkeypatch.setattr(session_calls, "RUN_SECONDS", 1.0)
    good, stopped = open_bundle(MODEL), threading.Event()
    path = hostile_model(MODEL, tmp_path / "endless.onnx", loops_on(other_input_only=False))

    def open_endless() -> None:
        with pytest.raises(ModelTimeout):
            open_bundle(path)
        stopped.set()

    thread = threading.Thread(target=open_endless)
    thread.start()
    clips = good.metadata.golden.input()
    end = time.monotonic() + 60
    while not stopped.is_set():
        assert time.monotonic() < end
        run_session(good.session, ["probabilities"], {"waveform": clips}, MODEL)
    thread.join()


@pytest.mark.parametrize("location", ["weights.bin", "/etc/passwd", "../weights.bin"])
def test_a_model_cannot_read_another_file(
    location: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for folder in (tmp_path, tmp_path / "here"):
        (folder / "weights.bin").write_bytes(bytes(4))
    path = hostile_model(MODEL, tmp_path / "here" / "reads.onnx", reads_another_file(location))
    with pytest.raises(ModelError, match="External data path"):
        open_bundle(path)


def test_scores_of_another_width_are_refused(tmp_path: Path) -> None:
    path = hostile_model(MODEL, tmp_path / "wide.onnx", wider_scores)
    with pytest.raises(ModelError, match=r"shape \(1, 20\)"):
        open_bundle(path)


def test_an_allocation_of_terabytes_is_refused(tmp_path: Path) -> None:
    path = hostile_model(MODEL, tmp_path / "large.onnx", allocates_terabytes)
    with pytest.raises(ModelError, match=r"large\.onnx"):
        open_bundle(path)


@pytest.mark.parametrize(
    "label", ["", " ", "seven\n", "\x1b[31mred", "x" * 10_000, "right\u202eleft", "\ufeff7"]
)
def test_an_impossible_label_is_refused(label: str, tmp_path: Path) -> None:
    labels = [label, *"123456789"]
    path = hostile_model(MODEL, tmp_path / "labels.onnx", set_metadata("labels", labels))
    with pytest.raises(ModelError, match=r"malformed metadata earful\.labels") as refused:
        open_bundle(path)
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 500


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.onnx")
    for path, kind in [
        (Path("/dev/zero"), "a device"),
        (tmp_path / "pipe.onnx", "a pipe"),
        (tmp_path, "a folder"),
    ]:
        with pytest.raises(ModelError, match=f"is not a model file: it is {kind}"):
            open_bundle(path)
    large = tmp_path / "large.onnx"
    with large.open("wb") as file:
        file.truncate(3 << 30)
    with pytest.raises(ModelError, match="larger than 2,147,483,647 bytes"):
        open_bundle(large)
    with pytest.raises(ModelUnreadable, match="no model file"):
        open_bundle(tmp_path / "missing.onnx")


def test_a_stuck_process_ends_also_if_nobody_reads_why() -> None:
    script = """
from earful.models.bundle.call_watcher import CALLS, guard_process

def report(reason):
    raise BrokenPipeError

guard_process(report, 3)
CALLS.end_process("stuck", None)
"""
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 3


def test_a_call_that_a_signal_stops_says_so() -> None:
    watcher, started, cancelled = CallWatcher(), threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        cancelled.wait(60)
        raise RuntimeError("terminated")

    def signalled() -> None:
        started.wait(60)
        watcher.interrupt(signal.SIGTERM)

    thread = threading.Thread(target=signalled)
    thread.start()
    with pytest.raises(TimeoutError, match="model was stopped by a signal"):
        watcher.run("model", 60.0, cancelled.set, work)
    thread.join()


def test_what_was_tried_is_what_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    shutil.copy(MODEL, path)
    tried = try_model(path, [1])
    assert open_bundle(path, sha256=tried).sha256 == tried
    path.write_bytes(MODEL.with_name("digits.onnx").read_bytes())
    with pytest.raises(ModelUnreadable, match="has changed while it was tried"):
        open_bundle(path, sha256=tried)


def test_errors_without_a_text_have_a_name() -> None:
    assert error_line(MemoryError()) == "MemoryError"
    assert error_line(RuntimeError("the first\nthe second")) == "the first"


@pytest.mark.slow
def test_a_trial_is_a_sentence_whatever_the_model_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    try_model(MODEL, [1, 2])
    with pytest.raises(ModelUnreadable, match="no model file"):
        try_model(tmp_path / "missing.onnx", [1])
    path = hostile_model(MODEL, tmp_path / "large.onnx", allocates_terabytes)
    with pytest.raises(ModelError, match=r"large\.onnx (fails to run|is not a usable)"):
        try_model(path, [1])
    monkeypatch.setattr(trial, "TRIAL_SECONDS", 2.0)
    path = hostile_model(MODEL, tmp_path / "endless.onnx", folds_for_ever)
    with pytest.raises(ModelError, match="was not opened within 2 s"):
        try_model(path, [1])
