"""A thread that repeats a step until it is stopped, also after errors."""

import logging
import threading
from collections.abc import Callable

from earful.data.errors import EarfulError
from earful.service.core.request_log import log

# After errors in a row the thread waits 1, 2, 4, ... seconds, at most this many.
MAX_BACKOFF_SECONDS = 60.0


class BackgroundThread:
    """Calls ``step`` every ``interval_seconds``, and at once after ``wake``.

    ``step`` gets the thread and returns whether it should be called again at once. An error is
    logged, and the step is repeated after a while. The first call comes after ``delay_seconds``.
    """

    def __init__(
        self,
        name: str,
        step: "Callable[[BackgroundThread], bool]",
        interval_seconds: float,
        delay_seconds: float = 0.0,
    ) -> None:
        self._name, self._step, self._interval = name, step, interval_seconds
        self._delay = delay_seconds
        self._wake = threading.Event()
        self._stopped = threading.Event()
        self._n_errors = 0
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self) -> None:
        self._wake.set()

    @property
    def is_stopped(self) -> bool:
        """Whether ``stop`` was called; a long step ends then."""
        return self._stopped.is_set()

    def stop(self) -> None:
        """Let the thread end after its step."""
        self._stopped.set()
        self._wake.set()

    def join(self) -> None:
        if self._thread.is_alive():
            self._thread.join()

    def wait_stopped(self, seconds: float) -> bool:
        """Wait, but not longer than until the thread is to stop; whether it is."""
        return self._stopped.wait(seconds)

    def _run(self) -> None:
        self.wait_stopped(self._delay)
        while not self.is_stopped:
            if self._step_again():
                continue
            self._wake.wait(self._wait_seconds())
            self._wake.clear()

    def _step_again(self) -> bool:
        try:
            again = self._step(self)
        except (EarfulError, OSError) as error:
            log(logging.ERROR, f"{self._name}_failed", {"reason": str(error)})
        except Exception as exception:  # noqa: BLE001 - without this thread no job is run
            log(logging.ERROR, "unexpected_error", {"where": self._name}, exception)
        else:
            self._n_errors = 0
            return again
        self._n_errors += 1
        return False

    def _wait_seconds(self) -> float:
        if self._n_errors == 0:
            return self._interval
        return min(MAX_BACKOFF_SECONDS, max(self._interval, 2.0 ** (self._n_errors - 1)))
