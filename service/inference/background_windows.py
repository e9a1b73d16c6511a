"""Windows of long recordings: run by the inference thread in between the batches of short files.

Recordings that wait for an answer and those of jobs take turns.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from earful.data.errors import EarfulError
from earful.service.classifier import MAX_BATCH, Classifier, Cut, InferenceError
from earful.service.core.metrics import ServiceMetrics
from earful.service.core.request_log import log
from earful.service.inference.job_queue import WindowJob, predict_timed

# A short file that arrives waits for at most one run of about this long, or of one window.
_RUN_SECONDS = 0.0006
# Weight of the newest value in the running mean of seconds per window.
_SMOOTHING = 0.2
# ``check`` is called this often while windows wait.
CHECK_SECONDS = 0.5


@dataclass(eq=False)
class _BackgroundJob(WindowJob):
    """Windows of a recording; the inference thread sets ``scores`` or ``error``, then ``done``."""

    abandoned: bool = False
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)


class BackgroundWindows:
    """A queue of windows; recordings take turns. ``wake`` is the inference thread's condition."""

    def __init__(self, wake: threading.Condition, metrics: ServiceMetrics) -> None:
        self._wake, self._metrics = wake, metrics
        self._jobs: deque[_BackgroundJob] = deque()
        self._current: _BackgroundJob | None = None
        self._seconds_per_window = _RUN_SECONDS

    def __len__(self) -> int:
        return len(self._jobs)

    def run(
        self,
        classifier: Classifier,
        check: Callable[[], None],
        windows: Sequence[Cut],
    ) -> NDArray[np.float32]:
        """Scores (windows, labels) of windows; blocks.

        ``check`` is called from time to time; what it raises ends the wait.

        Raises:
            InferenceError: the model fails.
        """
        job = _BackgroundJob(classifier, windows)
        with self._wake:
            self._jobs.append(job)
            self._wake.notify()
        try:
            while not job.done.wait(CHECK_SECONDS):
                check()
        finally:
            job.abandoned = True
        if job.error is not None:
            raise job.error
        return np.stack(job.scores)

    def step(self, max_windows: int = MAX_BATCH) -> None:
        """Run the next windows of the recording whose turn it is; on the inference thread."""
        if not self._jobs:
            return
        job = self._jobs.popleft()
        if job.abandoned:
            return
        self._current = job
        try:
            self._run_some(job, max_windows)
        except EarfulError as error:
            job.error = error
        except Exception as exception:  # noqa: BLE001 - without its thread no request is answered
            log(logging.ERROR, "unexpected_error", {"where": "inference"}, exception)
            job.error = InferenceError("the model failed")
        if job.error is None and not job.is_complete:
            self._jobs.append(job)
        else:
            job.done.set()
        self._current = None  # else it would keep its recording, and a model that was replaced

    def fail_current(self) -> None:
        """Fail the windows that were run when the inference thread failed."""
        job = self._current
        if job is not None and not job.done.is_set() and job not in self._jobs:
            job.error = InferenceError("the model failed")
            job.done.set()
        self._current = None

    def _run_some(self, job: _BackgroundJob, max_windows: int) -> None:
        size = min(max_windows, max(1, int(_RUN_SECONDS / self._seconds_per_window)))
        started = time.monotonic()
        scores = predict_timed(job.classifier, job.next_windows(size), self._metrics)
        per_window = (time.monotonic() - started) / len(scores)
        self._seconds_per_window += _SMOOTHING * (per_window - self._seconds_per_window)
        job.scores += list(scores)
