"""Jobs of the micro-batcher: the windows of a file or a recording, run a few at a time."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import AudioError, AudioLimits, Waveform
from earful.data.audio.wav import parse_wav
from earful.service.classifier import MAX_BATCH, Classifier, Cut, Prediction
from earful.service.core.errors import RequestError
from earful.service.core.metrics import ServiceMetrics


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
class WindowJob:
    """Windows in a queue, and the scores (labels,) of those that were run, in the same order."""

    classifier: Classifier
    windows: Sequence[Cut] = ()
    scores: list[NDArray[np.float32]] = field(default_factory=list, init=False)

    def next_windows(self, max_windows: int) -> Sequence[Cut]:
        """The next windows to run, at most ``max_windows``."""
        n_done = len(self.scores)
        return self.windows[n_done : n_done + max_windows]

    @property
    def is_complete(self) -> bool:
        return len(self.scores) == len(self.windows)


@dataclass(eq=False, kw_only=True)
class FileJob(WindowJob):
    """One file in the queue; the inference thread fills in the results, ``outcome`` last.

    Without ``covering`` only the best window is run. ``max_samples`` limits the decoded length.
    """

    source: bytes | Waveform
    future: "asyncio.Future[InferenceOutcome]"
    enqueued_at: float
    covering: bool = True
    max_samples: int | None = None
    cancelled: bool = False
    has_started: bool = False
    outcome: InferenceOutcome | None = None

    def add_scores(self, scores: Sequence[NDArray[np.float32]]) -> None:
        """Add the scores (labels,) of the next windows; the last ones set the outcome."""
        self.scores += scores
        if self.is_complete:
            self.outcome = self.classifier.make_prediction(self.windows, self.scores)

    def fail(self) -> None:
        """Fail the file, unless it has an outcome."""
        # A new error each time: an exception raised twice keeps the frames of both.
        self.outcome = self.outcome or inference_failed_error()


def decode_to_windows(job: FileJob, limits: AudioLimits) -> Sequence[Cut]:
    """The windows of a file to run.

    Raises:
        AudioError: with a stable code; ``LongWaveform`` if the job is for shorter ones.
    """
    source, classifier = job.source, job.classifier
    waveform = classifier.decode(source, limits).waveform if isinstance(source, bytes) else source
    if job.max_samples is not None and len(waveform) > job.max_samples:
        raise LongWaveform(waveform)
    return classifier.cut(waveform, covering=job.covering)


def predict_timed(
    classifier: Classifier, windows: Sequence[Cut], metrics: ServiceMetrics
) -> NDArray[np.float32]:
    """``Classifier.predict_windows``, with its duration and size in the metrics."""
    started = time.monotonic()
    scores = classifier.predict_windows(windows)
    metrics.inference_seconds.observe(time.monotonic() - started)
    metrics.batch_windows.observe(len(windows))
    return scores


def max_batch(classifier: Classifier) -> int:
    """Windows in a batch: on a CPU larger ones are not faster, and double a worker's memory."""
    on_cpu = classifier.bundle.provider == "CPUExecutionProvider"
    return _MAX_CPU_BATCH if on_cpu else MAX_BATCH


def decodes_inline(source: bytes | Waveform) -> bool:
    """Whether the inference thread decodes it."""
    return not isinstance(source, bytes) or (
        len(source) <= INLINE_DECODE_BYTES and parse_wav(source) is not None
    )


def select_jobs(active: Sequence[FileJob]) -> list[FileJob]:
    """The next jobs: up to a batch of those that use the same model as the first one."""
    pending = [job for job in active if not job.cancelled]
    if not pending:
        return []
    classifier = pending[0].classifier
    return [job for job in pending if job.classifier is classifier][: max_batch(classifier)]


def inference_failed_error() -> RequestError:
    """The error of a file on which the model fails, new each time."""
    return RequestError("inference_failed", "the model failed on this file")
