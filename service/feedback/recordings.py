"""Recordings kept behind the answers: nobody waits for the disk, and memory has a limit."""

import logging
import threading
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from earful.models.bundle.decision import SAID_FROM, Scores
from earful.service.classifier import Prediction
from earful.service.core.metrics import Metrics
from earful.service.core.request_log import log
from earful.service.feedback.audio_files import suffix_of
from earful.service.feedback.errors import FeedbackError
from earful.service.feedback.prediction_ids import SCORE_DIGITS
from earful.service.feedback.records import KeptClip
from earful.service.inference.hot_reload import Served

Recordings = dict[str, tuple[KeptClip, bytes]]
# What waits to be written; more is not kept, and counted.
MAX_WAITING_BYTES = 64_000_000
_BATCH = 64


class Keeper:
    """A thread that gives recordings to ``keep``, as many at once as have gathered."""

    def __init__(self, keep: Callable[[Recordings], None], metrics: Metrics) -> None:
        self._keep, self._metrics = keep, metrics
        self._waiting: deque[tuple[KeptClip, bytes]] = deque()
        self._bytes = 0
        self._wake = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._work, name="keeper", daemon=True)
        self._thread.start()

    def offer(self, clip: KeptClip, blob: bytes) -> None:
        """Keep a recording soon, unless too much is waiting."""
        with self._wake:
            if self._stopped or self._bytes + len(blob) > MAX_WAITING_BYTES:
                self._metrics.clips_kept.labels("dropped").inc()
                return
            self._waiting.append((clip, blob))
            self._bytes += len(blob)
            self._wake.notify()

    def stop(self) -> None:
        """Keep what is waiting, and end."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.join()

    def _work(self) -> None:
        while batch := self._take():
            try:
                self._keep({clip.sha256: (clip, blob) for clip, blob in batch})
                self._metrics.clips_kept.labels("kept").inc(len(batch))
            except Exception as error:  # noqa: BLE001 - the thread is for those that follow, too
                self._metrics.clips_kept.labels("failed").inc(len(batch))
                fault = None if isinstance(error, FeedbackError) else error
                facts = {"clips": len(batch), "reason": str(error)}
                log(logging.ERROR, "clips_not_kept", facts, fault)
            with self._wake:
                self._bytes -= sum(len(blob) for _, blob in batch)

    def _take(self) -> list[tuple[KeptClip, bytes]]:
        """The next ones, waiting for them; none at the end."""
        with self._wake:
            while not self._waiting and not self._stopped:
                self._wake.wait()
            return [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]


def kept_clip(sha256: str, blob: bytes, answer: Prediction, served: Served) -> KeptClip:
    """A recording's bytes, and what a model heard in it, as they are kept."""
    return KeptClip(
        sha256=sha256,
        suffix=suffix_of(blob),
        n_bytes=len(blob),
        seconds=answer.seconds,
        heard_label=answer.label,
        score=round(answer.score, SCORE_DIGITS),
        margin=margin_of(answer.best.scores, served.classifier.metadata.scores),
        model_name=served.info["name"],
        model_version=served.info["version"],
    )


def margin_of(scores: NDArray[np.float32], kind: Scores) -> float:
    """How far scores (labels,) are from another answer: the distance of the two best.

    Of sigmoid scores twice that of the one nearest to where it is said or not, which for one label
    is the distance of its two outcomes.
    """
    if kind == "sigmoid":
        return float(2 * np.abs(scores - SAID_FROM).min())
    if len(scores) < 2:
        return float(scores[0])
    second, first = np.partition(scores, -2)[-2:]
    return float(first - second)
