"""What the runners of jobs get from the service."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import AudioLimits, Waveform
from earful.service.classifier import Classifier
from earful.service.core.metrics import ServiceMetrics
from earful.service.inference.hot_reload import LoadedModel
from earful.service.jobs.job_folder import JobFolder

if TYPE_CHECKING:
    from earful.service.feedback.database import FeedbackDatabase


@dataclass(frozen=True)
class RunnerContext:
    """What a runner works with.

    ``score_windows`` gives scores (windows, labels); the function that it gets is called from time
    to time while they wait. ``is_busy`` is whether short files are served now.
    """

    folder: JobFolder
    database: "Callable[[], FeedbackDatabase]"
    loaded_model: Callable[[], LoadedModel]
    score_windows: Callable[
        [Classifier, Callable[[], None], Sequence[tuple[Waveform, int]]], NDArray[np.float32]
    ]
    is_busy: Callable[[], bool]
    is_draining: Callable[[], bool]
    audio_limits: AudioLimits
    retention: timedelta
    metrics: ServiceMetrics
