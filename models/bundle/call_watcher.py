"""Watches calls of native code: each has a time limit, and a signal can interrupt it.

Python's lock is free during such a call, so a thread of this process can watch it, which costs a
few microseconds a call and no child process. When the limit has passed, or on a signal, the call is
asked to stop. One that does not can only be ended with its process: that is done, with a sentence,
in the processes of the command (``guard_process``); in a notebook the call goes on.
"""

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

T = TypeVar("T")
# The time that a call has to stop after it was asked to, and after a signal.
STOP_SECONDS, SIGNAL_SECONDS = 10.0, 2.0
CHECK_SECONDS = 0.1
_WAKE_UP: list[socket.socket] = []


@dataclass(eq=False)
class _Call:
    """A call in progress; ``deadline`` is a time of ``time.monotonic``."""

    what: str
    limit_seconds: float
    cancel: Callable[[], None]
    deadline: float
    why_cancelled: Literal["", "deadline", "signal"] = ""

    def message(self) -> str:
        if self.why_cancelled == "signal":
            return f"{self.what} was stopped by a signal"
        return (
            f"{self.what} was stopped: it did not finish one step within {self.limit_seconds:g} s; "
            "it may loop for ever, so use another model"
        )


class CallWatcher:
    """Watches calls on a thread that is started with the first of them."""

    def __init__(self) -> None:
        self._calls: set[_Call] = set()
        self._wake = threading.Condition()
        self._thread: threading.Thread | None = None
        self.end_process: Callable[[str, int | None], None] | None = None
        if hasattr(os, "register_at_fork"):  # the calls of the parent are not the child's
            os.register_at_fork(after_in_child=self._calls.clear)

    def run(
        self, what: str, seconds: float, cancel: Callable[[], None], work: Callable[[], T]
    ) -> T:
        """The result of ``work``, which ``cancel`` makes raise an error.

        Raises:
            TimeoutError: it took longer, or a signal came; the message is for people.
            Exception: what ``work`` raises.
        """
        call = _Call(what, seconds, cancel, time.monotonic() + seconds)
        with self._wake:
            self._calls.add(call)
            if self._thread is None or not self._thread.is_alive():  # not after a fork
                self._thread = threading.Thread(target=self._watch, name="model-calls", daemon=True)
                self._thread.start()
            if len(self._calls) == 1:
                self._wake.notify()
        try:
            return work()
        except Exception as error:
            if call.why_cancelled:
                raise TimeoutError(call.message()) from error
            raise
        finally:
            self._calls.discard(call)

    def interrupt(self, signal_number: int) -> None:
        """Cancel all calls, so that Python's handler of a signal can run; ends a stuck process."""
        for call in tuple(self._calls):
            self._cancel(call, "signal")
        end = time.monotonic() + SIGNAL_SECONDS
        cancelled = set(self._calls)
        while cancelled & self._calls and time.monotonic() < end:
            time.sleep(CHECK_SECONDS / 10)
        stuck = cancelled & self._calls
        if stuck and self.end_process is not None:
            self.end_process(f"{next(iter(stuck)).what} did not stop; ended", signal_number)

    def _watch(self) -> None:
        while True:
            with self._wake:
                while not self._calls:
                    self._wake.wait()
            time.sleep(CHECK_SECONDS)
            now = time.monotonic()
            for call in tuple(self._calls):
                if now > call.deadline:
                    self._cancel(call, "deadline")
                if now > call.deadline + STOP_SECONDS and self.end_process is not None:
                    self.end_process(call.message(), None)

    def _cancel(self, call: _Call, why: Literal["deadline", "signal"]) -> None:
        call.why_cancelled = call.why_cancelled or why
        call.cancel()


CALLS = CallWatcher()


def guard_process(report: Callable[[str], None], exit_code: int) -> None:
    """End this process when a call cannot be stopped, after ``report`` got the reason.

    Only for processes that are ours: those of the command, of the server and of a batch run.
    """

    def end_process(message: str, signal_number: int | None) -> None:
        try:
            report(message)
        finally:  # nobody may read what is reported
            os._exit(exit_code if signal_number is None else 128 + signal_number)

    CALLS.end_process = end_process


def interrupt_on_signals() -> None:
    """Let SIGINT and SIGTERM interrupt calls on the main thread, where it must be called.

    Python runs a signal's handler on the main thread after the call that it is in, which may never
    end. A thread sees the signal at once and interrupts the call, and then the handler runs.
    """
    reader, writer = socket.socketpair()  # Windows takes no pipe
    writer.setblocking(False)
    signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    _WAKE_UP.append(writer)  # which would be closed with its last reference
    threading.Thread(target=_watch_signals, args=[reader], name="signals", daemon=True).start()


def _watch_signals(reader: socket.socket) -> None:
    while True:
        for number in reader.recv(1):
            if number in (signal.SIGINT, signal.SIGTERM):
                CALLS.interrupt(number)
