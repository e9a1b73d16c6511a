"""The micro-batcher: the windows of many requests are run in shared batches.

One inference thread decodes small files and runs the model. When idle it starts at once; files that
arrive while it runs form the next batch, so batches grow with the load and no request waits for a
batch to fill. A long file gets a few windows per batch, so it does not block the others; windows
of long recordings and of jobs (``background_windows``) run in between.

    event loop        submit -> queue ............................... future <- deliver
    inference thread       `-> decode_to_windows -> fill_batches -> predict_windows --'
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from earful.data.audio.decode import AudioError, AudioLimits, Waveform
from earful.models.bundle.session_calls import ModelTimeout
from earful.service.classifier import MAX_BATCH, Classifier, Cut, InferenceError, fill_batches
from earful.service.core.background import BackgroundTask, BackgroundThread
from earful.service.core.errors import RequestError
from earful.service.core.metrics import ServiceMetrics
from earful.service.core.request_log import log
from earful.service.inference.background_windows import BackgroundWindows
from earful.service.inference.job_queue import (
    FileJob,
    InferenceOutcome,
    decode_to_windows,
    decodes_inline,
    max_batch,
    predict_timed,
    select_jobs,
)

DECODE_THREADS = 2
# How often pending requests are checked for passed deadlines and disconnected clients.
EXPIRY_CHECK_SECONDS = 0.05
_BUSY_SECONDS = 0.1
# Weight of the newest value in the running mean of seconds per file.
_SMOOTHING = 0.05


@dataclass(eq=False)
class _PendingRequest:
    """The files of one request; ``disconnected`` returns when its client has disconnected."""

    jobs: list[FileJob]
    deadline: float
    disconnected: Callable[[], Awaitable[None]] | None
    disconnect_watcher: "asyncio.Task[None] | None" = None

    def cancel(self, code: str, message: str) -> None:
        """Fail all unfinished files with this error; nothing more is computed for them."""
        for job in self.jobs:
            job.cancelled = True
            if not job.future.done():
                job.future.set_result(RequestError(code, message))


class MicroBatcher:
    """Classifies files that are submitted on the event loop, at most ``max_queue`` at a time."""

    def __init__(self, limits: AudioLimits, max_queue: int, metrics: ServiceMetrics) -> None:
        self._limits, self._max_queue, self._metrics = limits, max_queue, metrics
        self._pending_requests: set[_PendingRequest] = set()
        self._submitted_at = -_BUSY_SECONDS
        self._depth = 0
        self._closing = False
        self._incoming: deque[FileJob] = deque()
        self._wake = threading.Condition()
        self.background = BackgroundWindows(self._wake, metrics)
        self._stopped = False
        self._seconds_per_file, self._busy_seconds = 0.001, 0.0  # for Retry-After
        # Set while the last batch of the model did not end; ``/readyz`` shows it.
        self.timeout_reason: str | None = None
        self._decoders = ThreadPoolExecutor(DECODE_THREADS, "decode")
        self._active: deque[FileJob] = deque()  # of the inference thread
        self._thread = BackgroundThread(
            "inference", self._run_next, metrics, recover=self._fail_unfinished
        )
        self._expiry = BackgroundTask(
            "request_expiry", self._expire_requests, metrics, EXPIRY_CHECK_SECONDS
        )

    def start(self) -> None:
        """Start the inference thread; call it on the event loop that ``submit`` is called on."""
        self._loop = asyncio.get_running_loop()
        self._expiry.start()
        self._thread.start()

    async def stop(self) -> None:
        """Refuse new files, finish the queued ones, and stop."""
        self._closing = True
        while self._pending_requests:  # each ends by its deadline at the latest
            await asyncio.sleep(EXPIRY_CHECK_SECONDS)
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.finish()
        await self._loop.run_in_executor(None, self._thread.join)
        self._expiry.stop()
        self._decoders.shutdown(wait=False, cancel_futures=True)

    @property
    def alive(self) -> bool:
        """Whether the inference thread is alive."""
        return self._thread.is_alive

    @property
    def is_busy(self) -> bool:
        """Whether files were submitted a moment ago."""
        return time.monotonic() - self._submitted_at < _BUSY_SECONDS

    @property
    def depth(self) -> int:
        """Files queued or in progress."""
        return self._depth

    def check_capacity(self, files: int = 1) -> None:
        """Check that this many more files fit.

        Raises:
            RequestError: ``queue_full``, or ``draining`` once ``stop`` was called.
        """
        if self._closing:
            raise RequestError("draining", "the service is shutting down; use another instance")
        if self._depth + files > self._max_queue:
            wait_seconds = max(1, round(self._seconds_per_file * self._depth + 0.5))
            raise RequestError(
                "queue_full",
                f"{self._depth} files are queued, at most {self._max_queue} are accepted; "
                f"try again in {wait_seconds} s",
                {"Retry-After": str(wait_seconds)},
            )

    async def submit(
        self,
        sources: Sequence[bytes | Waveform],
        classifier: Classifier,
        deadline: float,
        disconnected: Callable[[], Awaitable[None]] | None = None,
        *,
        windows: bool = True,
        max_samples: int | None = None,
    ) -> list[InferenceOutcome]:
        """A prediction or error for each file or waveform (samples,), all from the same model.

        ``deadline`` is a time of ``time.monotonic``. When ``disconnected`` returns, the client has
        left and nothing more is computed for it. Without ``windows`` only the best window of each
        is run. One longer than ``max_samples`` is a ``LongWaveform``.

        Raises:
            RequestError: ``queue_full``, ``draining``, ``deadline_passed`` or
                ``client_disconnected``.
        """
        self.check_capacity(len(sources))
        self._submitted_at = now = time.monotonic()
        jobs = [
            FileJob(
                classifier,
                source=source,
                future=self._loop.create_future(),
                enqueued_at=now,
                covering=windows,
                max_samples=max_samples,
            )
            for source in sources
        ]
        pending_request = _PendingRequest(jobs, deadline, disconnected)
        self._pending_requests.add(pending_request)
        self._add_depth(len(jobs))
        slow = [job for job in jobs if not decodes_inline(job.source)]
        self._enqueue([job for job in jobs if decodes_inline(job.source)] if slow else jobs)
        decoding = [self._decode_in_pool(job) for job in slow]
        try:
            outcomes = [await job.future for job in jobs]
        finally:
            for job in jobs:
                job.cancelled = True
            for future in decoding:
                future.cancel()
            if pending_request.disconnect_watcher is not None:
                pending_request.disconnect_watcher.cancel()
            self._pending_requests.remove(pending_request)
            self._add_depth(-len(jobs))
        for outcome in outcomes:
            if isinstance(outcome, RequestError) and outcome.code != "inference_failed":
                # A copy: the original would keep this frame, and all files, alive.
                raise RequestError(outcome.code, str(outcome))
        return outcomes

    def _add_depth(self, change: int) -> None:
        self._depth += change
        self._metrics.queue_depth.inc(change)

    def _enqueue(self, jobs: Sequence[FileJob]) -> None:
        with self._wake:
            self._incoming.extend(jobs)
            self._wake.notify()

    def _decode_in_pool(self, job: FileJob) -> "asyncio.Future[None]":
        decoding = self._loop.run_in_executor(self._decoders, self._decode, job)
        decoding.add_done_callback(lambda _: self._enqueue([job]))
        return decoding

    async def _expire_requests(self) -> None:
        """Cancel requests that pass their deadline or whose clients disconnect."""
        now = time.monotonic()
        for pending_request in list(self._pending_requests):
            if now > pending_request.deadline:
                pending_request.cancel(
                    "deadline_passed",
                    "not finished before the deadline; send fewer or shorter files",
                )
            elif (
                pending_request.disconnected is not None
                and pending_request.disconnect_watcher is None
            ):
                pending_request.disconnect_watcher = self._loop.create_task(
                    _cancel_on_disconnect(pending_request, pending_request.disconnected)
                )

    # From here on: methods of the inference thread.

    def _run_next(self, thread: BackgroundThread) -> bool:
        """Run one batch of files, and one of background windows."""
        active = self._active
        if not self._wait_for_jobs(active):
            thread.stop()
            return False
        selected = select_jobs(active)
        if selected:
            self._run_selected(active, selected)
        else:
            active.clear()  # all are cancelled
        # An equal share: one window, as a short file has.
        self.background.step(1 if selected else MAX_BATCH)
        return True

    def _fail_unfinished(self) -> None:
        """Fail the files that were in progress when the thread failed: their state is unknown."""
        failed = list(self._active)
        self._active.clear()
        for job in failed:
            job.fail()
        self._loop.call_soon_threadsafe(_set_results, failed)
        self.background.fail_current()

    def _run_selected(self, active: deque[FileJob], selected: Sequence[FileJob]) -> None:
        started = time.monotonic()
        try:
            self._step(selected)
            self.timeout_reason = None
        except ModelTimeout as timeout:  # the same windows would take as long again
            self.timeout_reason = str(timeout)
            log(logging.ERROR, "model_timeout", {"reason": str(timeout), "files": len(selected)})
            for job in selected:
                job.fail()
        except Exception as exception:  # noqa: BLE001 - without this thread no request is answered
            log(logging.ERROR, "unexpected_error", {"where": "inference"}, exception)
            for job in selected:
                job.fail()
        self._busy_seconds += time.monotonic() - started
        self._deliver_finished(active, selected)

    def _wait_for_jobs(self, active: deque[FileJob]) -> bool:
        """Move new jobs to ``active``, waiting while there is no work; False when stopped."""
        with self._wake:
            while not (self._incoming or active or self.background or self._stopped):
                self._wake.wait()
            active.extend(self._incoming)
            self._incoming.clear()
        return bool(active or self.background)

    def _step(self, selected: Sequence[FileJob]) -> None:
        """Decode new jobs, and run one batch of the jobs' windows."""
        now = time.monotonic()
        for job in selected:
            if not job.has_started:
                job.has_started = True
                self._metrics.queue_seconds.observe(now - job.enqueued_at)
            if not job.windows and job.outcome is None:
                self._decode(job)
        ready = [job for job in selected if job.outcome is None and not job.cancelled]
        if ready:
            self._run_batch(ready)

    def _deliver_finished(self, active: deque[FileJob], selected: Sequence[FileJob]) -> None:
        """Send finished jobs to the event loop; of the others, those that just ran go last."""
        finished = [job for job in selected if job.outcome is not None]
        if finished:
            seconds = self._busy_seconds / len(finished)
            self._seconds_per_file += _SMOOTHING * (seconds - self._seconds_per_file)
            self._busy_seconds = 0.0
            self._loop.call_soon_threadsafe(_set_results, finished)
        just_run = set(selected)
        unfinished = [job for job in active if job.outcome is None and not job.cancelled]
        active.clear()
        active.extend(sorted(unfinished, key=lambda job: job in just_run))

    def _decode(self, job: FileJob) -> None:
        """Decode a job; small files on the inference thread, others on a decoder thread."""
        if job.cancelled:
            return
        started = time.monotonic()
        try:
            job.windows = decode_to_windows(job, self._limits)
            if isinstance(job.source, bytes):
                self._metrics.decode_seconds.observe(time.monotonic() - started)
        except AudioError as error:
            job.outcome = error.with_traceback(None)  # which would keep the job in a circle
        except Exception as exception:  # noqa: BLE001 - a decoder's bug fails that file only
            log(logging.ERROR, "unexpected_error", {"where": "decode"}, exception)
            job.fail()

    def _run_batch(self, selected: Sequence[FileJob]) -> None:
        """Run the next windows of the jobs, an equal share of the batch for each."""
        classifier = selected[0].classifier
        max_windows = max(1, max_batch(classifier) // len(selected))
        shares = [(job, job.next_windows(max_windows)) for job in selected]

        def run(shares: Sequence[tuple[FileJob, Sequence[Cut]]]) -> None:
            predict = partial(predict_timed, classifier, metrics=self._metrics)
            for job, scores in fill_batches(shares, predict):
                job.add_scores(scores)

        try:
            run(shares)
        except InferenceError as error:  # one of the files caused it: run each by itself
            log(logging.ERROR, "batch_failed", {"reason": str(error), "files": len(selected)})
            for share in shares:
                try:
                    run([share])
                except InferenceError:
                    share[0].fail()


async def _cancel_on_disconnect(
    pending_request: _PendingRequest, disconnected: Callable[[], Awaitable[None]]
) -> None:
    await disconnected()
    pending_request.cancel("client_disconnected", "the client disconnected")


def _set_results(finished: Sequence[FileJob]) -> None:
    """Resolve the futures of finished jobs; called on the event loop."""
    for job in finished:
        if not job.future.done() and job.outcome is not None:
            job.future.set_result(job.outcome)
