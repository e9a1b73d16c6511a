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
from earful.service.batch.classify_inputs import Options
from earful.service.batch.errors import BatchError
from earful.service.batch.inputs import Input
from earful.service.batch.shards import FETCHED, Shard, Tally, write_part
from earful.service.classifier import Classifier

# A new process each, which inherits no session and no lock (onnxruntime issues 9800 and 31961).
_CONTEXT = multiprocessing.get_context("spawn")
# Positions in shared memory.
_TICKS, _AT, _HEARD_MS = range(3)
_CRASHES_TO_QUARANTINE = 2
_STARTS = 3
# Pieces of a recording are read within moments; what takes this long will not come.
STALL_SECONDS = 300.0
_POLL_SECONDS = 1.0
# One that is stuck in the system, in a network drive say, may never end.
_ENDING_SECONDS = 10.0


@dataclass(frozen=True)
class Task:
    """What all workers of a run share: where it is kept, and how to classify."""

    folder: Path
    model: Path
    model_sha256: str
    options: Options
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
class _Broken:
    """The last words of a process that met what it should not have."""

    reason: str


class Worker:
    """One process at a time; a new one where the last has died."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self._process: Any = None
        self._line: Connection | None = None
        self._shared: Any = _CONTEXT.RawArray("q", 3)
        self._stopped = False
        self._closing = threading.Lock()

    def start(self) -> None:
        """Start the process, unless it is there: it opens the model while others still work."""
        if self._process is not None:
            return
        self._line, theirs = _CONTEXT.Pipe()
        process = _CONTEXT.Process(
            target=_serve, args=(theirs, self._task, self._shared), daemon=True
        )
        process.start()
        self._process = process
        theirs.close()  # so that its end is heard

    def run(self, shard: Shard) -> Tally:
        """Classify a shard and write its rows.

        Raises:
            BatchError: the process cannot start, the model fails, or rows cannot be written.
        """
        quarantined: dict[int, str] = {}
        crashes: Counter[int] = Counter()
        while True:
            ended = self._attempt(shard, quarantined)
            if isinstance(ended, Tally):
                self._rest()
                return ended
            if self._stopped:
                raise BatchError("stopped")
            at = int(self._shared[_AT])
            crashes[at] += 1
            if at < 0 and crashes[at] >= _STARTS:
                raise BatchError(f"a worker process does not start: {ended}")
            if at >= 0 and crashes[at] >= _CRASHES_TO_QUARANTINE:
                code = "timed_out" if ended.startswith("no progress") else "decoder_crashed"
                quarantined[at] = f"{code}: the process that read it ended, twice: {ended}"

    def at(self) -> tuple[int, float]:
        """Of the current shard: the input being read, from 0; seconds heard of long ones."""
        return max(0, int(self._shared[_AT])), self._shared[_HEARD_MS] / 1000

    def stop(self) -> None:
        """End the process for good, also in the middle of a shard that another thread waits for."""
        self._stopped = True
        self._close()

    def _close(self) -> None:
        with self._closing:  # by the thread that works, and by one that stops it
            process, self._process = self._process, None
            line, self._line = self._line, None
        if process is not None:
            process.kill()
            process.join(_ENDING_SECONDS)
        if line is not None:
            line.close()

    def _attempt(self, shard: Shard, quarantined: dict[int, str]) -> Tally | str:
        """The tally of a shard, or what became of the process."""
        self.start()
        process, line = self._process, self._line
        if process is None or line is None:  # stopped meanwhile
            return "stopped"
        self._rest()
        try:
            line.send((shard, quarantined))
            answer = self._answer(line)
        except (EOFError, OSError):  # before it has read the shard, or later
            process.join(_ENDING_SECONDS)
            ended = _how(process.exitcode)
            self._close()
            return ended
        if answer is None:
            self._close()
            return f"no progress for {self._task.stall_seconds:g} s"
        if isinstance(answer, _Broken):
            self._close()
            return answer.reason
        if isinstance(answer, str):
            raise BatchError(answer)
        return answer

    def _rest(self) -> None:
        self._shared[_AT], self._shared[_HEARD_MS] = -1, 0

    def _answer(self, line: Connection) -> Tally | str | _Broken | None:
        """What the process sends: a tally or what is wrong; None when it has come to a stop."""
        ticks, since = -1, time.monotonic()
        while not line.poll(_POLL_SECONDS):
            if ticks != (ticks := int(self._shared[_TICKS])):
                since = time.monotonic()
            elif time.monotonic() - since > self._task.stall_seconds:
                return None
        answer: Tally | str | _Broken = line.recv()
        return answer


def _serve(line: Connection, task: Task, shared: Sequence[int]) -> None:
    """The life of a worker process: shards in, tallies or one sentence out."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    # Decoders write remarks about damaged files to stderr, past Python, into the progress bar.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    # What is fetched and too large for memory; cleared with the run, also after a kill.
    (task.folder / FETCHED).mkdir(exist_ok=True)
    tempfile.tempdir = str(task.folder / FETCHED)
    try:
        classifier = task.open_classifier()
    except EarfulError as error:
        line.send(str(error))
        return
    while True:
        try:
            shard, quarantined = line.recv()
        except EOFError:
            return
        try:
            at = _Place(shared)
            tally = write_part(task.folder, shard, classifier, task.options, quarantined, at.moved)
        except OutputError as error:
            line.send(f"{error}; what is finished is kept, and the same command goes on from there")
        except EarfulError as error:
            line.send(str(error))
        except Exception as error:  # noqa: BLE001 - the entry point of a process
            line.send(_Broken(f"{type(error).__name__}: {error}"))
            return
        else:
            line.send(tally)


class _Place:
    """Tells in shared memory which input is being read, and that something moves."""

    def __init__(self, shared: Any) -> None:
        self._shared = shared
        self._last: Input | None = None

    def moved(self, source: Input, seconds: float) -> None:
        self._shared[_TICKS] += 1
        self._shared[_HEARD_MS] += round(1000 * seconds)
        if source is not self._last:
            self._last = source
            self._shared[_AT] += 1


def _end_with_parent() -> None:
    """A parent that was killed cannot end its workers; they see it go."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _how(exit_code: int | None) -> str:
    if exit_code is None:
        return "it does not end"
    if exit_code < 0:
        with contextlib.suppress(ValueError):
            return f"signal {signal.Signals(-exit_code).name}"
    return f"exit code {exit_code}"
