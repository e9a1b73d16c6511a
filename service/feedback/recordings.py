"""Saves recordings in the background: requests do not wait for the disk, memory is limited."""

import threading
from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from earful.models.bundle.decision import DECISION_THRESHOLD, ScoreKind
from earful.service.classifier import Prediction
from earful.service.core.background import BackgroundThread
from earful.service.core.defaults import SCORE_DIGITS
from earful.service.core.metrics import ServiceMetrics
from earful.service.feedback.audio_files import suffix_of
from earful.service.feedback.records import StoredRecording
from earful.service.inference.hot_reload import LoadedModel

RecordingBatch = dict[str, tuple[StoredRecording, bytes]]
# When the queue is full, recordings are dropped and counted in the metrics.
MAX_QUEUED_BYTES = 64_000_000
_BATCH = 64


class RecordingWriter:
    """A thread that passes queued recordings to ``write``, up to ``_BATCH`` at once."""

    def __init__(self, write: Callable[[RecordingBatch], None], metrics: ServiceMetrics) -> None:
        self._write, self._metrics = write, metrics
        self._queue: deque[tuple[StoredRecording, bytes]] = deque()
        self._queued_bytes = 0
        self._wake = threading.Condition()
        self._stopped = False
        self._thread = BackgroundThread("recording_writer", self._write_next, metrics)
        self._thread.start()

    def enqueue(self, clip: StoredRecording, blob: bytes) -> None:
        """Queue a recording; dropped when the queue is full."""
        with self._wake:
            if self._stopped or self._queued_bytes + len(blob) > MAX_QUEUED_BYTES:
                self._metrics.recordings_saved.labels("dropped").inc()
                return
            self._queue.append((clip, blob))
            self._queued_bytes += len(blob)
            self._wake.notify()

    def stop(self) -> None:
        """Write all queued recordings, then end the thread."""
        with self._wake:
            self._stopped = True
            self._wake.notify()
        self._thread.finish()
        self._thread.join()

    def _write_next(self, thread: BackgroundThread) -> bool:
        """Write the next recordings; those of a batch that fails are lost, and counted."""
        batch, outcome = self._next_batch(), "failed"
        if not batch:
            thread.stop()
            return False
        try:
            self._write({clip.sha256: (clip, blob) for clip, blob in batch})
            outcome = "saved"
        finally:
            self._metrics.recordings_saved.labels(outcome).inc(len(batch))
            with self._wake:
                self._queued_bytes -= sum(len(blob) for _, blob in batch)
        return True

    def _next_batch(self) -> list[tuple[StoredRecording, bytes]]:
        """Wait for the next recordings; empty after ``stop`` when all are written."""
        with self._wake:
            while not self._queue and not self._stopped:
                self._wake.wait()
            return [self._queue.popleft() for _ in range(min(_BATCH, len(self._queue)))]


def to_stored_recording(
    sha256: str, blob: bytes, prediction: Prediction, loaded_model: LoadedModel
) -> StoredRecording:
    """The record of a recording to save, with the model's prediction."""
    return StoredRecording(
        sha256=sha256,
        suffix=suffix_of(blob),
        n_bytes=len(blob),
        seconds=prediction.seconds,
        predicted_label=prediction.label,
        score=round(prediction.score, SCORE_DIGITS),
        margin=score_margin(prediction.best.scores, loaded_model.classifier.metadata.score_kind),
        model_name=loaded_model.info["name"],
        model_version=loaded_model.info["version"],
    )


def score_margin(scores: NDArray[np.float32], kind: ScoreKind) -> float:
    """Margin of scores (labels,) as a measure of certainty, from 0 to 1.

    Softmax: the difference of the two best scores. Sigmoid: twice the smallest distance of a score
    to ``DECISION_THRESHOLD``, which for a single label is |p - (1 - p)| at the threshold 0.5.
    """
    if kind == "sigmoid":
        return float(2 * np.abs(scores - DECISION_THRESHOLD).min())
    if len(scores) < 2:
        return float(scores[0])
    second, first = np.partition(scores, -2)[-2:]
    return float(first - second)
