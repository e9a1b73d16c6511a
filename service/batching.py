"""The micro-batcher: files of many requests become windows, and windows become batches.

One thread decodes what is quick to decode and runs the model. It starts at once when it has nothing
to do; what arrives while it runs gathers for the next batch, so batches grow with the load and
nobody waits for a batch to fill. A long recording takes its turn with the others, a few windows a
batch, so that it holds nobody up.

    event loop   submit -> queue .......................................... future <- deliver
    thread                  `-> take -> decode -> batch of windows -> run --------'
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from data.audio import AudioError, AudioLimits, Waveform
from data.wav import parse_wav
from service.classifier import MAX_BATCH, Classifier, InferenceError, Prediction
from service.errors import RequestError
from service.metrics import Metrics

Answer = Prediction | AudioError | RequestError
# What is decoded on the thread of the model: it takes less time than handing it to another one.
QUICK_BYTES = 1 << 17
DECODERS = 2
# How often the queue is looked through for what has expired, or whose sender may have gone.
SWEEP_SECONDS = 0.05
_BATCH_FAILED = RequestError("inference_failed", "the model failed on this file")


@dataclass(eq=False)
class Job:
    """One file on its way; ``gone`` waits until its sender has disconnected, if it ever does."""

    source: bytes | Waveform
    classifier: Classifier
    answer: "asyncio.Future[Answer]"
    arrived: float
    deadline: float
    gone: Callable[[], Awaitable[None]] | None = None
    watch: "asyncio.Task[None] | None" = None
    dropped: bool = False
    waveform: Waveform | None = None
    starts: Sequence[int] = ()
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    outcome: Answer | None = None

    @property
    def windows_done(self) -> int:
        return sum(map(len, self.scores))


class MicroBatcher:
    """``submit`` files on the event loop; each is answered, or refused with a ``RequestError``.

    At most ``max_queue`` files are in it at a time. ``start`` and ``stop`` run on the event loop.
    """

    def __init__(self, limits: AudioLimits, max_queue: int, metrics: Metrics) -> None:
        self._limits, self._max_queue, self._metrics = limits, max_queue, metrics
        self._jobs: set[Job] = set()
        self._arrived: deque[Job] = deque()
        self._wake = threading.Condition()
        self._stopped = False
        self._seconds_a_file = 0.001  # a running mean, for Retry-After
        self._decoders = ThreadPoolExecutor(DECODERS, "decode")
        self._thread = threading.Thread(target=self._work, name="inference", daemon=True)

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._sweeper = self._loop.create_task(self._sweep())
        self._thread.start()

    async def stop(self) -> None:
        """Answer what is queued, then end."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        await self._loop.run_in_executor(None, self._thread.join)
        await asyncio.sleep(0)  # what the thread delivered last
        self._sweeper.cancel()
        self._decoders.shutdown(wait=False, cancel_futures=True)

    @property
    def depth(self) -> int:
        """Files queued or in work."""
        return len(self._jobs)

    def check_room(self, files: int = 1) -> None:
        """Raises ``queue_full`` when so many more files do not fit."""
        if len(self._jobs) + files > self._max_queue:
            wait_seconds = max(1, round(self._seconds_a_file * len(self._jobs) + 0.5))
            raise RequestError(
                "queue_full",
                f"{len(self._jobs)} files are waiting, of at most {self._max_queue}; "
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
        """An answer for each file or waveform, all from the same model.

        ``deadline`` is a time of ``time.monotonic``. When ``gone`` returns, the sender has left and
        nothing more is computed for it.

        Raises:
            RequestError: ``queue_full``, ``deadline_passed``, or ``inference_failed`` for all.
        """
        self.check_room(len(sources))
        now = time.monotonic()
        jobs = [
            Job(source, classifier, self._loop.create_future(), now, deadline, gone)
            for source in sources
        ]
        self._jobs.update(jobs)
        try:
            slow = [job for job in jobs if not _is_quick(job.source)]
            if len(slow) < len(jobs):
                self._enqueue([job for job in jobs if _is_quick(job.source)])
            for job in slow:
                decoded = self._loop.run_in_executor(self._decoders, self._decode, job)
                decoded.add_done_callback(lambda _, job=job: self._enqueue([job]))  # type: ignore[misc]
            answers = [await job.answer for job in jobs]
        finally:
            for job in jobs:
                job.dropped = True
                if job.watch is not None:
                    job.watch.cancel()
            self._jobs.difference_update(jobs)
        for answer in answers:
            if isinstance(answer, RequestError) and answer.code == "deadline_passed":
                raise answer
        return answers

    def _enqueue(self, jobs: Sequence[Job]) -> None:
        with self._wake:
            self._arrived.extend(jobs)
            self._wake.notify()

    async def _sweep(self) -> None:
        """Answers what has passed its deadline, and drops what nobody waits for any more."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = time.monotonic()
            for job in list(self._jobs):
                if now > job.deadline and not job.answer.done():
                    job.dropped = True
                    waited = job.deadline - job.arrived
                    job.answer.set_result(
                        RequestError("deadline_passed", f"no answer within {waited:.1f} s")
                    )
                elif job.gone is not None and job.watch is None:
                    job.watch = self._loop.create_task(self._drop_when_gone(job))

    async def _drop_when_gone(self, job: Job) -> None:
        if job.gone is not None:
            await job.gone()
            job.dropped = True
            if not job.answer.done():
                job.answer.set_result(RequestError("client_gone", "the sender has left"))

    # On the thread of the model from here on.

    def _work(self) -> None:
        active: deque[Job] = deque()
        while self._take(active):
            ended = self._step(active)
            if ended:
                self._loop.call_soon_threadsafe(self._deliver, ended)

    def _take(self, active: deque[Job]) -> bool:
        """Move what has arrived to ``active``, waiting when there is nothing; False at the end."""
        with self._wake:
            while not self._arrived and not active and not self._stopped:
                self._wake.wait()
            active.extend(self._arrived)
            self._arrived.clear()
        return bool(active)

    def _step(self, active: deque[Job]) -> list[Job]:
        """Decode what is new, run one batch; the jobs that it ended, which leave ``active``."""
        began = time.monotonic()
        for job in active:
            if job.waveform is None and job.outcome is None and not job.dropped:
                self._metrics.queue_seconds.observe(began - job.arrived)
                self._decode(job)
        turn = [job for job in active if job.outcome is None and not job.dropped]
        if turn:
            turn = [job for job in turn if job.classifier is turn[0].classifier][:MAX_BATCH]
            self._run_batch(turn)
            self._seconds_a_file += 0.05 * (
                (time.monotonic() - began) / len(turn) - self._seconds_a_file
            )
        ended = [job for job in active if job.outcome is not None]
        waiting = [job for job in active if job.outcome is None and not job.dropped]
        had_a_turn = set(turn)
        active.clear()
        active.extend(sorted(waiting, key=lambda job: job in had_a_turn))
        return ended

    def _decode(self, job: Job) -> None:
        """On this thread for what is quick, else on one of the decoders'."""
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

    def _run_batch(self, turn: Sequence[Job]) -> None:
        """Run the next windows of each job, as many of each as make a batch of all."""
        share = max(1, MAX_BATCH // len(turn))
        parts = [(job, _next_windows(job, share)) for job in turn]
        try:
            scores = self._run([window for _, windows in parts for window in windows], turn[0])
        except InferenceError:
            for job, windows in parts:  # one of them is to blame: each for itself
                self._run_alone(job, windows)
            return
        first = 0
        for job, windows in parts:
            _add_scores(job, scores[first : first + len(windows)])
            first += len(windows)

    def _run_alone(self, job: Job, windows: Sequence[tuple[Waveform, int]]) -> None:
        try:
            _add_scores(job, self._run(windows, job))
        except InferenceError:
            job.outcome = _BATCH_FAILED

    def _run(self, windows: Sequence[tuple[Waveform, int]], job: Job) -> NDArray[np.float32]:
        began = time.monotonic()
        scores = job.classifier.run_windows(windows)
        self._metrics.inference_seconds.observe(time.monotonic() - began)
        self._metrics.batch_windows.observe(len(windows))
        return scores

    def _deliver(self, ended: Sequence[Job]) -> None:
        """On the event loop."""
        for job in ended:
            if not job.answer.done() and job.outcome is not None:
                job.answer.set_result(job.outcome)


def _is_quick(source: bytes | Waveform) -> bool:
    return not isinstance(source, bytes) or (
        len(source) <= QUICK_BYTES and parse_wav(source) is not None
    )


def _next_windows(job: Job, share: int) -> list[tuple[Waveform, int]]:
    if job.waveform is None:
        return []
    done = job.windows_done
    return [(job.waveform, start) for start in job.starts[done : done + share]]


def _add_scores(job: Job, scores: NDArray[np.float32]) -> None:
    """What a batch found of a job; at its last window the job is answered."""
    if not np.isfinite(scores).all():
        job.outcome = _BATCH_FAILED
        return
    job.scores.append(scores)
    if job.waveform is not None and job.windows_done == len(job.starts):
        job.outcome = job.classifier.prediction(
            job.waveform, job.starts, np.concatenate(job.scores)
        )
