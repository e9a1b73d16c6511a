"""Processes that decode and classify, so that one that dies takes nothing with it but a file.

A process works on one shard at a time and tells in shared memory which input it is at. When it
dies, another starts the shard again; an input at which it dies twice is quarantined, as an error
row, and the rest goes on. So a process that something else has killed costs nobody a row.
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
from earful.models.bundle.device import Device
from earful.service.batch.classify_inputs import ClassifyOptions
from earful.service.batch.errors import BatchError
from earful.service.batch.inputs import Input
from earful.service.batch.shards import DOWNLOADS_FOLDER, InputChunk, RunStats, classify_chunk
from earful.service.classifier import Classifier

# A new process each, which inherits no session and no lock (onnxruntime issues 9800 and 31961).
_CONTEXT = multiprocessing.get_context("spawn")
# Positions in shared memory.
_READ_COUNT, _INPUT_INDEX, _AUDIO_MS = range(3)
_CRASHES_TO_QUARANTINE = 2
_MAX_START_CRASHES = 3
# Pieces of a recording are read within moments; what takes this long will not come.
STALL_SECONDS = 300.0
_POLL_SECONDS = 1.0
# One that is stuck in the system, in a network drive say, may never end.
_JOIN_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class WorkerConfig:
    """What all workers of a run share: where it is kept, and how to classify."""

    folder: Path
    model: Path
    model_sha256: str
    options: ClassifyOptions
    reject: bool = False
    device: Device = "cpu"
    stall_seconds: float = STALL_SECONDS

    def open_classifier(self) -> Classifier:
        """The model, opened in this process.

        Raises:
            BatchError: the file is another one than when the run began.
        """
        classifier = Classifier.open(self.model, self.device, reject=self.reject)
        if classifier.bundle.sha256 != self.model_sha256:
            raise BatchError(f"{self.model} was replaced during the run; --restart takes the new")
        return classifier


@dataclass(frozen=True)
class _WorkerCrash:
    """The last words of a process that met what it should not have."""

    reason: str


class Worker:
    """One process at a time; a new one where the last has died."""

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._process: Any = None
        self._pipe: Connection | None = None
        self._shared: Any = _CONTEXT.RawArray("q", 3)
        self._stopped = False
        self._closing = threading.Lock()

    def start(self) -> None:
        """Start the process, unless it is there: it opens the model while others still work."""
        if self._process is not None:
            return
        self._pipe, child_pipe = _CONTEXT.Pipe()
        process = _CONTEXT.Process(
            target=_worker_main, args=(child_pipe, self._config, self._shared), daemon=True
        )
        process.start()
        self._process = process
        child_pipe.close()  # so that its end is heard

    def run(self, chunk: InputChunk) -> RunStats:
        """Classify a shard and write its rows.

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
                raise BatchError(f"a worker process does not start: {result}")
            if input_index >= 0 and crashes[input_index] >= _CRASHES_TO_QUARANTINE:
                code = "timed_out" if result.startswith("no progress") else "decoder_crashed"
                quarantined[input_index] = f"{code}: the process that read it ended, twice: {result}"

    def position(self) -> tuple[int, float]:
        """Of the current shard: the input being read, from 0; seconds heard of long ones."""
        return max(0, int(self._shared[_INPUT_INDEX])), self._shared[_AUDIO_MS] / 1000

    def stop(self) -> None:
        """End the process for good, also in the middle of a shard that another thread waits for."""
        self._stopped = True
        self._close()

    def _close(self) -> None:
        with self._closing:  # by the thread that works, and by one that stops it
            process, self._process = self._process, None
            pipe, self._pipe = self._pipe, None
        if process is not None:
            process.kill()
            process.join(_JOIN_TIMEOUT_SECONDS)
        if pipe is not None:
            pipe.close()

    def _try_chunk(self, chunk: InputChunk, quarantined: dict[int, str]) -> RunStats | str:
        """The tally of a shard, or what became of the process."""
        self.start()
        process, pipe = self._process, self._pipe
        if process is None or pipe is None:  # stopped meanwhile
            return "stopped"
        self._reset_progress()
        try:
            pipe.send((chunk, quarantined))
            reply = self._wait_for_reply(pipe)
        except (EOFError, OSError):  # before it has read the shard, or later
            process.join(_JOIN_TIMEOUT_SECONDS)
            result = _exit_reason(process.exitcode)
            self._close()
            return result
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
        """What the process sends: a tally or what is wrong; None when it has come to a stop."""
        read_count, since = -1, time.monotonic()
        while not pipe.poll(_POLL_SECONDS):
            if read_count != (read_count := int(self._shared[_READ_COUNT])):
                since = time.monotonic()
            elif time.monotonic() - since > self._config.stall_seconds:
                return None
        reply: RunStats | str | _WorkerCrash = pipe.recv()
        return reply


def _worker_main(pipe: Connection, config: WorkerConfig, shared: Sequence[int]) -> None:
    """The life of a worker process: shards in, tallies or one sentence out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    # Decoders write remarks about damaged files to stderr, past Python, into the progress bar.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    # What is fetched and too large for memory; cleared with the run, also after a kill.
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
            stats = classify_chunk(config.folder, chunk, classifier, config.options, quarantined, progress.on_read)
        except OutputError as error:
            pipe.send(f"{error}; what is finished is kept, and the same command goes on from there")
        except EarfulError as error:
            pipe.send(str(error))
        except Exception as error:  # noqa: BLE001 - the entry point of a process
            pipe.send(_WorkerCrash(f"{type(error).__name__}: {error}"))
            return
        else:
            pipe.send(stats)


class _ProgressReporter:
    """Tells in shared memory which input is being read, and that something moves."""

    def __init__(self, shared: Any) -> None:
        self._shared = shared
        self._last: Input | None = None

    def on_read(self, source: Input, seconds: float) -> None:
        self._shared[_READ_COUNT] += 1
        self._shared[_AUDIO_MS] += round(1000 * seconds)
        if source is not self._last:
            self._last = source
            self._shared[_INPUT_INDEX] += 1


def _exit_with_parent() -> None:
    """A parent that was killed cannot end its workers; they see it go."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _exit_reason(exit_code: int | None) -> str:
    if exit_code is None:
        return "it does not end"
    if exit_code < 0:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"
