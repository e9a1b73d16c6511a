"""Worker processes that decode and classify: a crash costs at most the file that caused it.

A worker processes one chunk at a time and writes the index of the current input to shared memory.
When it dies, a new process restarts the chunk. An input at which it dies twice is quarantined as an
error row. A worker that was killed from outside (out of memory, say) therefore costs no row.
"""

import contextlib
import multiprocessing
import os
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from earful.data.atomic_write import OutputError
from earful.data.errors import EarfulError
from earful.models.bundle.call_watcher import guard_process
from earful.models.bundle.device import Device
from earful.service.batch.chunks import DOWNLOADS_FOLDER, InputChunk, classify_chunk
from earful.service.batch.errors import BatchError
from earful.service.batch.inputs import Input
from earful.service.batch.items import ClassifyOptions
from earful.service.batch.settled_rows import RunStats
from earful.service.classifier import Classifier

# Not fork: a child must inherit no ONNX Runtime session or lock (onnxruntime issues 9800, 31961).
_CONTEXT = multiprocessing.get_context("spawn")
# Positions in shared memory.
_READ_COUNT, _INPUT_INDEX, _AUDIO_MS = range(3)
_CRASHES_TO_QUARANTINE = 2
_MAX_START_CRASHES = 3
# A block of audio is read in moments, so a worker without progress for this long is stuck.
STALL_SECONDS = 300.0
_POLL_SECONDS = 1.0
# Of a worker whose model does not end; EX_SOFTWARE of sysexits.h.
_STUCK_EXIT_CODE = 70
# A process stuck in a system call (on a network drive, say) may never end.
_JOIN_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class WorkerConfig:
    """What all workers of a run share: the job folder, the model and the options."""

    folder: Path
    model: Path
    model_sha256: str
    options: ClassifyOptions
    reject: bool = False
    device: Device = "cpu"
    stall_seconds: float = STALL_SECONDS

    def open_classifier(self) -> Classifier:
        """Open the model in this process.

        Raises:
            BatchError: the model file was replaced since the run started.
        """
        classifier = Classifier.open(self.model, self.device, reject=self.reject)
        if classifier.bundle.sha256 != self.model_sha256:
            raise BatchError(
                f"{self.model} was replaced during the run; start over with --restart to use the "
                "new model"
            )
        return classifier


@dataclass(frozen=True)
class _WorkerCrash:
    """Sent by a worker that stops on an unexpected exception."""

    reason: str


class Worker:
    """One worker process, replaced by a new one when it dies."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._process: Any = None
        self._pipe: Any = None  # a Connection; on Windows of another class
        self._shared: Any = _CONTEXT.RawArray("q", 3)
        self._stopped = False
        self._close_lock = threading.Lock()

    def start(self) -> None:
        """Start the process unless it runs. It opens the model while others already work."""
        if self._process is not None:
            return
        self._pipe, child_pipe = _CONTEXT.Pipe()
        process = _CONTEXT.Process(
            target=_worker_main, args=(child_pipe, self._config, self._shared), daemon=True
        )
        process.start()
        self._process = process
        child_pipe.close()  # otherwise the end of the process gives no EOFError here

    def run(self, chunk: InputChunk) -> RunStats:
        """Classify a chunk and write its rows.

        Raises:
            BatchError: the process cannot start, the model fails, or rows cannot be written.
        """
        quarantined: dict[int, str] = {}
        crashes: Counter[int] = Counter()
        while True:
            result = self._try_chunk(chunk, quarantined)
            if isinstance(result, RunStats):
                self._reset_progress()
                return result
            if self._stopped:
                raise BatchError("stopped")
            input_index = int(self._shared[_INPUT_INDEX])
            crashes[input_index] += 1
            if input_index < 0 and crashes[input_index] >= _MAX_START_CRASHES:
                raise BatchError(f"worker processes crash at the start: {result}")
            if input_index >= 0 and crashes[input_index] >= _CRASHES_TO_QUARANTINE:
                code = "timed_out" if result.startswith("no progress") else "decoder_crashed"
                quarantined[input_index] = f"{code}: two worker processes died on it: {result}"

    def position(self) -> tuple[int, float]:
        """Progress in the current chunk: (index of the input being read, from 0; seconds read)."""
        return max(0, int(self._shared[_INPUT_INDEX])), self._shared[_AUDIO_MS] / 1000

    def stop(self) -> None:
        """Kill the process and start no other, also while another thread waits for a chunk."""
        self._stopped = True
        self._close()

    def _close(self) -> None:
        with self._close_lock:  # called by the thread in `run` and by the one in `stop`
            process, self._process = self._process, None
            pipe, self._pipe = self._pipe, None
        if process is not None:
            process.kill()
            process.join(_JOIN_TIMEOUT_SECONDS)
        if pipe is not None:
            pipe.close()

    def _try_chunk(self, chunk: InputChunk, quarantined: dict[int, str]) -> RunStats | str:
        """The statistics of a chunk, or why the process ended."""
        self.start()
        process, pipe = self._process, self._pipe
        if process is None or pipe is None:  # stopped by another thread
            return "stopped"
        self._reset_progress()
        try:
            pipe.send((chunk, quarantined))
            reply = self._wait_for_reply(pipe)
        except (EOFError, OSError):  # the process died
            process.join(_JOIN_TIMEOUT_SECONDS)
            exit_code = process.exitcode
            self._close()
            if exit_code == _STUCK_EXIT_CODE:  # the next input would be no better
                reason = f"{self._config.model} does not finish a batch; use another model"
                raise BatchError(reason) from None
            return _exit_reason(exit_code)
        if reply is None:
            self._close()
            return f"no progress for {self._config.stall_seconds:g} s"
        if isinstance(reply, _WorkerCrash):
            self._close()
            return reply.reason
        if isinstance(reply, str):
            raise BatchError(reply)
        return reply

    def _reset_progress(self) -> None:
        self._shared[_INPUT_INDEX], self._shared[_AUDIO_MS] = -1, 0

    def _wait_for_reply(self, pipe: Connection) -> RunStats | str | _WorkerCrash | None:
        """Statistics, an error message or a crash; None when the process makes no progress."""
        read_count, last_progress = -1, time.monotonic()
        while not pipe.poll(_POLL_SECONDS):
            if read_count != (read_count := int(self._shared[_READ_COUNT])):
                last_progress = time.monotonic()
            elif time.monotonic() - last_progress > self._config.stall_seconds:
                return None
        reply: RunStats | str | _WorkerCrash = pipe.recv()
        return reply


def _worker_main(pipe: Connection, config: WorkerConfig, shared: Sequence[int]) -> None:
    """Entry point of a worker process: receives chunks, sends statistics or an error message."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    guard_process(lambda reason: None, _STUCK_EXIT_CODE)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    # C decoders write warnings about damaged files straight to stderr, into the progress bar.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    # Large downloads go into the job folder, so that they are removed with it even after a kill.
    (config.folder / DOWNLOADS_FOLDER).mkdir(exist_ok=True)
    tempfile.tempdir = str(config.folder / DOWNLOADS_FOLDER)
    try:
        classifier = config.open_classifier()
    except EarfulError as error:
        pipe.send(str(error))
        return
    while True:
        try:
            chunk, quarantined = pipe.recv()
        except EOFError:
            return
        try:
            progress = _ProgressReporter(shared)
            stats = classify_chunk(
                config.folder, chunk, classifier, config.options, quarantined, progress.on_read
            )
        except OutputError as error:
            pipe.send(f"{error}; finished work is kept: run the same command again to continue")
        except EarfulError as error:
            pipe.send(str(error))
        except Exception as error:  # noqa: BLE001 - the entry point of a process
            pipe.send(_WorkerCrash(f"{type(error).__name__}: {error}"))
            return
        else:
            pipe.send(stats)


class _ProgressReporter:
    """Writes to shared memory which input is being read, and how much of it."""

    def __init__(self, shared: Any) -> None:
        self._shared = shared
        self._current: Input | None = None

    def on_read(self, source: Input, seconds: float) -> None:
        self._shared[_READ_COUNT] += 1
        self._shared[_AUDIO_MS] += round(1000 * seconds)
        if source is not self._current:
            self._current = source
            self._shared[_INPUT_INDEX] += 1


def _exit_with_parent() -> None:
    """End this process when its parent dies: a killed parent cannot stop its workers."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _exit_reason(exit_code: int | None) -> str:
    if exit_code is None:
        return "the process does not end"
    if exit_code < 0:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"
