"""The micro-batcher: files of many requests become windows, and windows become batches.

One thread decodes what is quick to decode and runs the model. It starts at once when it has nothing
to do; what arrives while it runs gathers for the next batch, so batches grow with the load and
nobody waits for a batch to fill. A long recording takes its turn with the others, a few windows a
batch, so that it holds nobody up.

    event loop   submit -> queue .......................................... future <- deliver
    thread                  `-> take -> decode -> batch of windows -> run --------'
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import AudioError, AudioLimits, Waveform
from earful.service.classifier import MAX_BATCH, Classifier, InferenceError
from earful.service.core.errors import RequestError
from earful.service.core.metrics import Metrics
from earful.service.core.request_log import log
from earful.service.inference.job_queue import (
    Answer,
    Job,
    add_scores,
    failed,
    is_quick,
    next_turn,
    next_windows,
)

DECODERS = 2
# How often the queue is looked through for what has expired, or whose sender may have gone.
SWEEP_SECONDS = 0.05
_SMOOTHING = 0.05


@dataclass(eq=False)
class _Asked:
    """The files of one request; ``gone`` returns when its sender has disconnected."""

    jobs: list[Job]
    deadline: float
    gone: Callable[[], Awaitable[None]] | None
    watch: "asyncio.Task[None] | None" = None

    def give_up(self, code: str, message: str) -> None:
        """Answer so what has no answer yet; nothing more is computed for it."""
        for job in self.jobs:
            job.dropped = True
            if not job.answer.done():
                job.answer.set_result(RequestError(code, message))


class MicroBatcher:
    """``submit`` files on the event loop; each is answered, or refused with a ``RequestError``.

    At most ``max_queue`` files are in it at a time.
    """

    def __init__(self, limits: AudioLimits, max_queue: int, metrics: Metrics) -> None:
        self._limits, self._max_queue, self._metrics = limits, max_queue, metrics
        self._asked: set[_Asked] = set()
        self._depth = 0
        self._closing = False
        self._arrived: deque[Job] = deque()
        self._wake = threading.Condition()
        self._stopped = False
        self._seconds_a_file, self._seconds_at_work = 0.001, 0.0  # for Retry-After
        self._decoders = ThreadPoolExecutor(DECODERS, "decode")
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)

    def start(self) -> None:
        """Begin to take files; on the event loop that ``submit`` will be called on."""
        self._loop = asyncio.get_running_loop()
        self._sweeper = self._loop.create_task(self._sweep())
        self._thread.start()

    async def stop(self) -> None:
        """Take no more files, answer those that are queued, and end."""
        self._closing = True
        while self._asked:  # each ends by its deadline at the latest
            await asyncio.sleep(SWEEP_SECONDS)
        with self._wake:
            self._stopped = True
            self._wake.notify()
        await self._loop.run_in_executor(None, self._thread.join)
        self._sweeper.cancel()
        self._decoders.shutdown(wait=False, cancel_futures=True)

    @property
    def alive(self) -> bool:
        """Whether the thread of the model runs."""
        return self._thread.is_alive()

    @property
    def depth(self) -> int:
        """Files queued or in work."""
        return self._depth

    def check_room(self, files: int = 1) -> None:
        """See that so many more files fit.

        Raises:
            RequestError: ``queue_full``, or ``draining`` once it is told to stop.
        """
        if self._closing:
            raise RequestError("draining", "the service is about to end; ask another one")
        if self._depth + files > self._max_queue:
            wait_seconds = max(1, round(self._seconds_a_file * self._depth + 0.5))
            raise RequestError(
                "queue_full",
                f"{self._depth} files are waiting, of at most {self._max_queue}; "
                f"try again in {wait_seconds} s",
                {"Retry-After": str(wait_seconds)},
            )

    async def submit(
        self,
        sources: Sequence[bytes | Waveform],
        classifier: Classifier,
        deadline: float,
        gone: Callable[[], Awaitable[None]] | None = None,
    ) -> list[Answer]:
        """An answer for each file or waveform (samples,), all from the same model.

        ``deadline`` is a time of ``time.monotonic``. When ``gone`` returns, the sender has left and
        nothing more is computed for it.

        Raises:
            RequestError: ``queue_full``, ``draining``, ``deadline_passed`` or ``client_gone``.
        """
        self.check_room(len(sources))
        now = time.monotonic()
        jobs = [Job(source, classifier, self._loop.create_future(), now) for source in sources]
        asked = _Asked(jobs, deadline, gone)
        self._asked.add(asked)
        self._count(len(jobs))
        slow = [job for job in jobs if not is_quick(job.source)]
        self._enqueue([job for job in jobs if is_quick(job.source)] if slow else jobs)
        decoding = [self._decode_elsewhere(job) for job in slow]
        try:
            answers = [await job.answer for job in jobs]
        finally:
            for job in jobs:
                job.dropped = True
            for future in decoding:
                future.cancel()
            if asked.watch is not None:
                asked.watch.cancel()
            self._asked.remove(asked)
            self._count(-len(jobs))
        for answer in answers:
            if isinstance(answer, RequestError) and answer.code != "inference_failed":
                # A new one: raised itself, it would keep this frame, and with it all files.
                raise RequestError(answer.code, str(answer))
        return answers

    def _count(self, more: int) -> None:
        self._depth += more
        self._metrics.queue_depth.inc(more)

    def _enqueue(self, jobs: Sequence[Job]) -> None:
        with self._wake:
            self._arrived.extend(jobs)
            self._wake.notify()

    def _decode_elsewhere(self, job: Job) -> "asyncio.Future[None]":
        decoding = self._loop.run_in_executor(self._decoders, self._decode, job)
        decoding.add_done_callback(lambda _: self._enqueue([job]))
        return decoding

    async def _sweep(self) -> None:
        """Answers what has passed its deadline, and drops what nobody waits for any more."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = time.monotonic()
            for asked in list(self._asked):
                if now > asked.deadline:
                    asked.give_up("deadline_passed", "no answer before the deadline; send less")
                elif asked.gone is not None and asked.watch is None:
                    asked.watch = self._loop.create_task(_drop_when_gone(asked, asked.gone))

    # On the thread of the model from here on.

    def _work(self) -> None:
        active: deque[Job] = deque()
        while self._take(active):
            began = time.monotonic()
            turn = next_turn(active)
            try:
                self._step(turn)
            except Exception as fault:  # noqa: BLE001 - without this thread nobody has an answer
                log(logging.ERROR, "fault", {"where": "inference"}, fault)
                for job in turn:
                    job.outcome = job.outcome or failed()
            self._seconds_at_work += time.monotonic() - began
            self._hand_over(active, turn)

    def _take(self, active: deque[Job]) -> bool:
        """Move what has arrived to ``active``, waiting when there is nothing; False at the end."""
        with self._wake:
            while not self._arrived and not active and not self._stopped:
                self._wake.wait()
            active.extend(self._arrived)
            self._arrived.clear()
        return bool(active)

    def _step(self, turn: Sequence[Job]) -> None:
        """Decode what is new of these jobs, and run one batch of their windows."""
        now = time.monotonic()
        for job in turn:
            if not job.began:
                job.began = True
                self._metrics.queue_seconds.observe(now - job.arrived)
            if job.waveform is None and job.outcome is None:
                self._decode(job)
        ready = [job for job in turn if job.outcome is None and not job.dropped]
        if ready:
            self._run_batch(ready)

    def _hand_over(self, active: deque[Job], turn: Sequence[Job]) -> None:
        """What has ended goes to the event loop; of the rest, those who had a turn come last."""
        ended = [job for job in turn if job.outcome is not None]
        if ended:
            seconds = self._seconds_at_work / len(ended)
            self._seconds_a_file += _SMOOTHING * (seconds - self._seconds_a_file)
            self._seconds_at_work = 0.0
            self._loop.call_soon_threadsafe(_deliver, ended)
        had_a_turn = set(turn)
        going_on = [job for job in active if job.outcome is None and not job.dropped]
        active.clear()
        active.extend(sorted(going_on, key=lambda job: job in had_a_turn))

    def _decode(self, job: Job) -> None:
        """On this thread for what is quick, else on one of the decoders'."""
        if job.dropped:
            return
        began = time.monotonic()
        try:
            if isinstance(job.source, bytes):
                job.waveform = job.classifier.decode(job.source, self._limits).waveform
                self._metrics.decode_seconds.observe(time.monotonic() - began)
            else:
                job.waveform = job.source
            job.starts = job.classifier.starts(job.waveform)
        except AudioError as error:
            job.outcome = error
        except Exception as fault:  # noqa: BLE001 - a decoder's fault is that file's alone
            log(logging.ERROR, "fault", {"where": "decode"}, fault)
            job.outcome = failed()

    def _run_batch(self, turn: Sequence[Job]) -> None:
        """Run the next windows of each job, as many of each as make a batch of all."""
        share = max(1, MAX_BATCH // len(turn))
        parts = [(job, next_windows(job, share)) for job in turn]
        try:
            scores = self._run([window for _, windows in parts for window in windows], turn[0])
        except InferenceError as error:  # one of them is to blame: each for itself
            log(logging.ERROR, "batch_failed", {"reason": str(error), "files": len(turn)})
            for job, windows in parts:
                self._run_alone(job, windows)
            return
        first = 0
        for job, windows in parts:
            add_scores(job, scores[first : first + len(windows)])
            first += len(windows)

    def _run_alone(self, job: Job, windows: Sequence[tuple[Waveform, int]]) -> None:
        try:
            add_scores(job, self._run(windows, job))
        except InferenceError:
            job.outcome = failed()

    def _run(self, windows: Sequence[tuple[Waveform, int]], job: Job) -> NDArray[np.float32]:
        began = time.monotonic()
        scores = job.classifier.run_windows(windows)
        self._metrics.inference_seconds.observe(time.monotonic() - began)
        self._metrics.batch_windows.observe(len(windows))
        return scores


async def _drop_when_gone(asked: _Asked, gone: Callable[[], Awaitable[None]]) -> None:
    await gone()
    asked.give_up("client_gone", "the sender has left")


def _deliver(ended: Sequence[Job]) -> None:
    """On the event loop."""
    for job in ended:
        if not job.answer.done() and job.outcome is not None:
            job.answer.set_result(job.outcome)
