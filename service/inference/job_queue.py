"""Jobs of the micro-batcher: one per file, run as windows in batches."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import AudioError, Waveform
from earful.data.audio.wav import parse_wav
from earful.service.classifier import MAX_BATCH, Classifier, Prediction
from earful.service.core.errors import RequestError
from earful.service.core.request_log import log


class LongWaveform(AudioError):  # noqa: N818 - names the state
    """A file that is longer than its job allows: decoded to (samples,), not classified."""

    def __init__(self, waveform: Waveform) -> None:
        super().__init__("too_long", f"{len(waveform)} samples are too many for one answer")
        self.waveform = waveform


InferenceOutcome = Prediction | AudioError | RequestError
# Smaller WAV files are decoded on the inference thread: faster than handing them to another one.
INLINE_DECODE_BYTES = 1 << 17
_MAX_CPU_BATCH = 16


@dataclass(eq=False)
class InferenceJob:
    """One file in the queue; the inference thread fills in the results, ``outcome`` last.

    Without ``windows`` only the best window is run. ``max_samples`` limits the decoded length.
    """

    source: bytes | Waveform
    classifier: Classifier
    future: "asyncio.Future[InferenceOutcome]"
    enqueued_at: float
    windows: bool = True
    max_samples: int | None = None
    cancelled: bool = False
    has_started: bool = False
    waveform: Waveform | None = None
    starts: Sequence[int] = ()
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    outcome: InferenceOutcome | None = None

    def set_waveform(self, waveform: Waveform) -> None:
        """Store the decoded audio, with the windows to run; a too long one is the outcome."""
        if self.max_samples is not None and len(waveform) > self.max_samples:
            self.outcome = LongWaveform(waveform)
            return
        self.waveform = waveform
        starts = self.classifier.starts(waveform)
        self.starts = starts if self.windows else starts[-1:]

    @property
    def windows_done(self) -> int:
        return sum(map(len, self.scores))


def max_batch(classifier: Classifier) -> int:
    """Windows in a batch: on a CPU larger ones are not faster, and double a worker's memory."""
    on_cpu = classifier.bundle.provider == "CPUExecutionProvider"
    return _MAX_CPU_BATCH if on_cpu else MAX_BATCH


def decodes_inline(source: bytes | Waveform) -> bool:
    """Whether the inference thread decodes it."""
    return not isinstance(source, bytes) or (
        len(source) <= INLINE_DECODE_BYTES and parse_wav(source) is not None
    )


def select_jobs(active: Sequence[InferenceJob]) -> list[InferenceJob]:
    """The next jobs: up to a batch of those that use the same model as the first one."""
    pending = [job for job in active if not job.cancelled]
    if not pending:
        return []
    classifier = pending[0].classifier
    return [job for job in pending if job.classifier is classifier][: max_batch(classifier)]


def next_windows(job: InferenceJob, max_windows: int) -> list[tuple[Waveform, int]]:
    """The next windows of a job, at most ``max_windows``: its waveform and each first sample."""
    if job.waveform is None:
        return []
    n_done = job.windows_done
    return [(job.waveform, start) for start in job.starts[n_done : n_done + max_windows]]


def add_scores(job: InferenceJob, scores: NDArray[np.float32]) -> None:
    """Add the scores (windows, labels) of a batch to a job; the last ones set its outcome."""
    if not np.isfinite(scores).all():
        log(logging.ERROR, "batch_failed", {"reason": "scores are not finite"})
        job.outcome = inference_failed_error()
        return
    job.scores.append(scores)
    if job.waveform is not None and job.windows_done == len(job.starts):
        job.outcome = job.classifier.make_prediction(
            job.waveform, job.starts, np.concatenate(job.scores)
        )


def inference_failed_error() -> RequestError:
    """A new error each time: an exception raised twice keeps the frames of both."""
    return RequestError("inference_failed", "the model failed on this file")
