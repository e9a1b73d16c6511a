"""One file on its way through the micro-batcher, and what a batch takes of it and gives to it."""

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

InferenceOutcome = Prediction | AudioError | RequestError
# What is decoded on the thread of the model: it takes less time than handing it to another one.
INLINE_DECODE_BYTES = 1 << 17


@dataclass(eq=False)
class InferenceJob:
    """One file on its way; the thread fills in what it finds, ``outcome`` last."""

    source: bytes | Waveform
    classifier: Classifier
    future: "asyncio.Future[InferenceOutcome]"
    enqueued_at: float
    cancelled: bool = False
    has_started: bool = False
    waveform: Waveform | None = None
    starts: Sequence[int] = ()
    scores: list[NDArray[np.float32]] = field(default_factory=list)
    outcome: InferenceOutcome | None = None

    @property
    def windows_done(self) -> int:
        return sum(map(len, self.scores))


def decodes_inline(source: bytes | Waveform) -> bool:
    """Whether the thread of the model decodes it itself."""
    return not isinstance(source, bytes) or (
        len(source) <= INLINE_DECODE_BYTES and parse_wav(source) is not None
    )


def select_jobs(active: Sequence[InferenceJob]) -> list[InferenceJob]:
    """Those whose turn it is: the first batch of jobs that want the same model."""
    pending = [job for job in active if not job.cancelled]
    return [job for job in pending if job.classifier is pending[0].classifier][:MAX_BATCH]


def next_windows(job: InferenceJob, max_windows: int) -> list[tuple[Waveform, int]]:
    """The next windows of a job, at most ``share``: its waveform with the first sample of each."""
    if job.waveform is None:
        return []
    n_done = job.windows_done
    return [(job.waveform, start) for start in job.starts[n_done : n_done + max_windows]]


def add_scores(job: InferenceJob, scores: NDArray[np.float32]) -> None:
    """What a batch found of a job; at its last window the job has its outcome."""
    if not np.isfinite(scores).all():
        log(logging.ERROR, "batch_failed", {"reason": "scores that are not finite"})
        job.outcome = inference_failed_error()
        return
    job.scores.append(scores)
    if job.waveform is not None and job.windows_done == len(job.starts):
        job.outcome = job.classifier.make_prediction(
            job.waveform, job.starts, np.concatenate(job.scores)
        )


def inference_failed_error() -> RequestError:
    """A new one each time: an exception that is raised twice keeps the frames of both."""
    return RequestError("inference_failed", "the model failed on this file")
