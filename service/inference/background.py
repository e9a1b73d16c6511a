"""Windows of jobs, which the inference thread runs while no file waits.

Batches are so short that a file that arrives hardly waits for one. While files keep coming, jobs
still get a turn from time to time, so that they end.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform
from earful.service.classifier import MAX_BATCH, Classifier, InferenceError
from earful.service.core.errors import RequestError
from earful.service.core.request_log import log

# A batch takes about this long: what a file may have to wait.
BATCH_SECONDS = 0.001
# A response is sent, and the next request of its client read, in about this time.
GAP_SECONDS = 0.003
# While files keep coming, jobs get a turn of this length this often: few enough turns that one
# request in a hundred waits for one.
TURN_SECONDS, TURN_EVERY_SECONDS = 0.008, 0.25


@dataclass(eq=False)
class BackgroundWindows:
    """Windows of one call; the inference thread collects their scores, ``future`` gets them all."""

    windows: Sequence[tuple[Waveform, int]]
    classifier: Classifier
    future: "Future[NDArray[np.float32]]" = field(default_factory=Future)
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    n_done: int = 0


class TrafficGap:
    """Lets a thread that computes for a job step aside while files are in progress.

    Python runs one thread at a time: one that cuts windows holds up those that answer requests.
    """

    def __init__(self) -> None:
        self._idle = threading.Event()
        self._idle.set()
        self._idle_since = self._turn_end = 0.0

    def set_busy(self, busy: bool) -> None:
        """Whether files are in progress."""
        if busy:
            self._idle.clear()
        else:
            self._idle_since = time.monotonic()
            self._idle.set()

    def wait(self) -> None:
        """Return when no file has been in progress for ``GAP_SECONDS``, or when it is a turn."""
        if time.monotonic() < self._turn_end:
            return
        end = time.monotonic() + TURN_EVERY_SECONDS
        while (now := time.monotonic()) < end:
            if not self._idle.wait(end - now):
                break
            quiet_seconds = time.monotonic() - self._idle_since
            if quiet_seconds >= GAP_SECONDS:
                return
            time.sleep(GAP_SECONDS - quiet_seconds)  # the response is being sent
        self._turn_end = time.monotonic() + TURN_SECONDS


class BackgroundQueue:
    """Windows that wait; the calls one after another, so that each job goes on at its own pace."""

    def __init__(self) -> None:
        self._queue: deque[BackgroundWindows] = deque()
        self._batch_windows, self._last_turn = 1, 0.0

    def __bool__(self) -> bool:
        return bool(self._queue)

    def append(self, background: BackgroundWindows) -> None:
        self._queue.append(background)

    def cancel_all(self) -> None:
        """Fail everything that waits, as the service stops."""
        while self._queue:
            self._queue.popleft().future.set_exception(stopped_error())

    def is_due(self, files_wait: bool) -> bool:
        """Whether a batch should run now."""
        waited = time.monotonic() - self._last_turn >= TURN_EVERY_SECONDS
        return bool(self._queue) and (waited or not files_wait)

    def run_turn(self, files_wait: bool) -> None:
        """Run one batch; while files wait, as many as fit into a turn, which comes rarely then."""
        end = time.monotonic() + (TURN_SECONDS if files_wait else 0.0)
        self._run_batch()
        while self._queue and time.monotonic() < end:
            self._run_batch()

    def _run_batch(self) -> None:
        """Run the next few windows of the call that waits longest."""
        background = self._queue[0]
        first = background.n_done
        windows = background.windows[first : first + self._batch_windows]
        started = time.monotonic()
        try:
            scores = background.classifier.run_windows(windows)
            if not np.isfinite(scores).all():
                raise InferenceError("scores are not finite")
        except InferenceError as error:
            self._fail(error)
            return
        except Exception as exception:  # noqa: BLE001 - without its thread no request is answered
            log(logging.ERROR, "unexpected_error", {"where": "inference"}, exception)
            self._fail(InferenceError("the model failed"))
            return
        self._last_turn = time.monotonic()
        self._adapt_batch(len(windows), self._last_turn - started)
        background.scores.append(scores)
        background.n_done += len(windows)
        if background.n_done == len(background.windows):
            self._queue.popleft()
            background.future.set_result(np.concatenate(background.scores))

    def _fail(self, error: InferenceError) -> None:
        self._queue.popleft().future.set_exception(error)

    def _adapt_batch(self, n_windows: int, seconds: float) -> None:
        if seconds > BATCH_SECONDS:
            self._batch_windows = max(1, n_windows // 2)
        elif n_windows == self._batch_windows and 2 * seconds < BATCH_SECONDS:
            self._batch_windows = min(MAX_BATCH, 2 * n_windows)


def stopped_error() -> RequestError:
    return RequestError("draining", "the service is shutting down; use another instance")
