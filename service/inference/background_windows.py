"""Windows of long recordings: run by the inference thread in between the batches of short files."""

import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform
from earful.data.errors import EarfulError
from earful.service.classifier import MAX_BATCH, Classifier, InferenceError
from earful.service.core.metrics import ServiceMetrics

# A short file that arrives waits for at most one run of about this long, or of one window.
_RUN_SECONDS = 0.0006
# Weight of the newest value in the running mean of seconds per window.
_SMOOTHING = 0.2
_CANCEL_CHECK_SECONDS = 1.0


class Cancelled(Exception):  # noqa: N818 - not an error
    """Nobody waits for the recording any more."""


@dataclass(eq=False)
class _BackgroundJob:
    """Windows of a recording; the inference thread sets ``scores`` or ``error``, then ``done``."""

    classifier: Classifier
    cancelled: threading.Event
    windows: Sequence[tuple[Waveform, int]]
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    error: Exception | None = None
    done: threading.Event = field(default_factory=threading.Event)

    @property
    def windows_done(self) -> int:
        return sum(map(len, self.scores))


class BackgroundWindows:
    """A queue of windows; recordings take turns. ``wake`` is the inference thread's condition."""

    def __init__(self, wake: threading.Condition, metrics: ServiceMetrics) -> None:
        self._wake, self._metrics = wake, metrics
        self._jobs: deque[_BackgroundJob] = deque()
        self._seconds_per_window = _RUN_SECONDS

    def __len__(self) -> int:
        return len(self._jobs)

    def run(
        self,
        classifier: Classifier,
        cancelled: threading.Event,
        windows: Sequence[tuple[Waveform, int]],
    ) -> NDArray[np.float32]:
        """Scores (windows, labels) of windows, each a waveform and its first sample; blocks.

        Raises:
            Cancelled: ``cancelled`` was set.
            InferenceError: the model fails.
        """
        job = _BackgroundJob(classifier, cancelled, windows)
        with self._wake:
            self._jobs.append(job)
            self._wake.notify()
        while not job.done.wait(_CANCEL_CHECK_SECONDS):
            if cancelled.is_set():
                raise Cancelled
        if job.error is not None:
            raise job.error
        return np.concatenate(job.scores)

    def step(self, max_windows: int = MAX_BATCH) -> None:
        """Run the next windows of the recording whose turn it is; on the inference thread."""
        if not self._jobs:
            return
        job = self._jobs.popleft()
        try:
            if job.cancelled.is_set():
                raise Cancelled
            self._run_some(job, max_windows)
        except (Cancelled, EarfulError) as error:
            job.error = error
        if job.error is None and job.windows_done < len(job.windows):
            self._jobs.append(job)
        else:
            job.done.set()

    def _run_some(self, job: _BackgroundJob, max_windows: int) -> None:
        size = min(max_windows, max(1, int(_RUN_SECONDS / self._seconds_per_window)))
        windows = job.windows[job.windows_done : job.windows_done + size]
        started = time.monotonic()
        scores = job.classifier.run_windows(windows)
        seconds = time.monotonic() - started
        per_window = seconds / len(windows)
        self._seconds_per_window += _SMOOTHING * (per_window - self._seconds_per_window)
        self._metrics.inference_seconds.observe(seconds)
        self._metrics.batch_windows.observe(len(windows))
        if not np.isfinite(scores).all():
            raise InferenceError("scores are not finite")
        job.scores.append(scores)
