"""Background threads and tasks of the service: none of them ends unseen.

Each repeats a step. A step that fails is logged with its traceback, counted in the metrics
(``earful_background_failures_total``) and repeated after a while; until it succeeds
``earful_background_failing`` is 1. A thread or task that is ended by anything but ``stop`` starts
anew. Whatever the step works on must therefore be usable after an error.
"""

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import TypeVar

from earful.data.errors import EarfulError
from earful.service.core.metrics import ServiceMetrics
from earful.service.core.request_log import log

# After errors in a row the next attempt comes after 0.25, 0.5, 1, ... seconds, at most this many:
# what ended comes back within ten seconds.
FIRST_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS = 0.25, 5.0
# Loading a large model takes less.
HANGING_SECONDS = 30.0
# More doublings than that exceed the largest float.
_MAX_DOUBLINGS = 10


T = TypeVar("T")


async def call_in_daemon_thread(work: Callable[[], T]) -> T:
    """The result of ``work`` in a thread of its own.

    One that never returns does not keep the process from ending, as the usual threads of asyncio
    would.
    """
    outcome: Future[T] = Future()

    def run() -> None:
        try:
            outcome.set_result(work())
        except BaseException as error:  # noqa: BLE001 - the entry of a thread; the caller gets it
            outcome.set_exception(error)

    awaited = asyncio.wrap_future(outcome)
    outcome.set_running_or_notify_cancel()  # a caller that leaves does not cancel the thread
    threading.Thread(target=run, daemon=True).start()
    return await awaited


class BackgroundHealth:
    """How a background thread or task fares; ``reason`` says why its last step failed, or None."""

    def __init__(self, name: str, metrics: ServiceMetrics) -> None:
        self._name = name
        self._failures = metrics.background_failures.labels(name)  # reported as 0 from the start
        self._failing = metrics.background_failing.labels(name)
        self._n_errors = 0
        self.reason: str | None = None

    def failed(self, error: BaseException) -> None:
        """Count an error; in the log it is seen once, not at every attempt."""
        reason = str(error) or type(error).__name__
        if reason != self.reason:
            # An error with a message for people needs no traceback.
            exception = None if isinstance(error, EarfulError | OSError) else error
            log_fields = {"task": self._name, "reason": reason}
            log(logging.ERROR, "background_task_failed", log_fields, exception)
        if self._n_errors == 0:
            self._failing.inc()
        self._failures.inc()
        self._n_errors, self.reason = self._n_errors + 1, reason

    def succeeded(self) -> None:
        """Note that a step succeeded."""
        if self._n_errors == 0:
            return
        self._n_errors, self.reason = 0, None
        self._failing.dec()
        log(logging.INFO, "background_task_recovered", {"task": self._name})

    def wait_seconds(self, interval_seconds: float) -> float:
        """The time to the next step: ``interval_seconds``, or after errors that of the back-off."""
        if self._n_errors == 0:
            return interval_seconds
        doublings = min(self._n_errors - 1, _MAX_DOUBLINGS)
        return min(MAX_BACKOFF_SECONDS, FIRST_BACKOFF_SECONDS * 2.0**doublings)


class BackgroundThread:
    """A thread that calls ``step`` every ``interval_seconds``, and at once after ``wake``.

    ``step`` gets the thread and returns whether it should be called again at once. The first call
    comes after ``delay_seconds``. ``recover`` is called on the thread after an error.
    """

    def __init__(
        self,
        name: str,
        step: "Callable[[BackgroundThread], bool]",
        metrics: ServiceMetrics,
        interval_seconds: float = 0.0,
        delay_seconds: float = 0.0,
        recover: Callable[[], None] = lambda: None,
    ) -> None:
        self._step, self._interval, self._recover = step, interval_seconds, recover
        self._delay = delay_seconds
        self.health = BackgroundHealth(name, metrics)
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._is_finishing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    @property
    def is_alive(self) -> bool:
        return self._thread.is_alive()

    @property
    def is_stopped(self) -> bool:
        """Whether ``stop`` was called; a long step ends then."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Let the thread end after its step."""
        self._stopped.set()
        self.finish()

    def finish(self) -> None:
        """Do the rest of the work without waiting: after an error too."""
        self._is_finishing.set()
        self._wake.set()

    def join(self) -> None:
        if self._thread.is_alive():
            self._thread.join()

    def wait_stopped(self, seconds: float) -> bool:
        """Wait, but not longer than until the thread is to stop; whether it is."""
        return self._stopped.wait(seconds)

    def back_off(self, seconds: float) -> None:
        """Wait, but not longer than until the thread is to finish or stop."""
        self._is_finishing.wait(seconds)

    def _run(self) -> None:
        self.wait_stopped(self._delay)
        has_failed = False
        while not self.is_stopped:
            try:
                if has_failed:
                    try:
                        self._recover()
                    finally:  # also when it fails: the thread would use a whole core
                        self.back_off(self.health.wait_seconds(0.0))
                    has_failed = False
                self._repeat()
            except BaseException as error:  # noqa: BLE001 - the entry of a thread, which must not end
                self.health.failed(error)
                has_failed = True

    def _repeat(self) -> None:
        while not self.is_stopped:
            again = self._step(self)
            self.health.succeeded()
            if not again:
                self._wake.wait(self._interval)
                self._wake.clear()


class BackgroundTask:
    """A task of the event loop that calls ``step`` every ``interval_seconds``."""

    def __init__(
        self,
        name: str,
        step: Callable[[], Awaitable[None]],
        metrics: ServiceMetrics,
        interval_seconds: float,
    ) -> None:
        self._name, self._step, self._interval = name, step, interval_seconds
        self.health = BackgroundHealth(name, metrics)
        self._task: asyncio.Task[None] | None = None
        self._stopped = False

    def start(self) -> None:
        """Start; call it on the event loop."""
        if not self._stopped:
            self._task = asyncio.get_running_loop().create_task(self._run(), name=self._name)
            self._task.add_done_callback(self._start_anew)

    def stop(self) -> None:
        """End the task, also in the middle of a step."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self.health.wait_seconds(self._interval))
            # A step that hangs, on a store that does not respond, goes on and is reported.
            hanging = TimeoutError(f"no end within {HANGING_SECONDS:g} s")
            report = loop.call_later(HANGING_SECONDS, self.health.failed, hanging)
            try:
                await self._step()
            except Exception as error:  # noqa: BLE001 - the entry of a task, which must not end
                self.health.failed(error)
            else:
                self.health.succeeded()
            finally:
                report.cancel()

    def _start_anew(self, ended: "asyncio.Task[None]") -> None:
        """Called when the task ends, which only a cancellation can cause."""
        if not self._stopped:
            error = None if ended.cancelled() else ended.exception()
            self.health.failed(error or asyncio.CancelledError("the task was cancelled"))
            self.start()
