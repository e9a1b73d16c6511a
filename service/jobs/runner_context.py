"""What the runners of jobs get from the service."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform
from earful.service.classifier import Classifier
from earful.service.core.metrics import ServiceMetrics
from earful.service.inference.hot_reload import LoadedModel
from earful.service.jobs.job_folder import JobFolder

if TYPE_CHECKING:
    from earful.service.feedback.database import FeedbackDatabase


@dataclass(frozen=True)
class RunnerContext:
    """What a runner works with. ``score_windows`` gives scores (windows, labels)."""

    folder: JobFolder
    database: "Callable[[], FeedbackDatabase]"
    loaded_model: Callable[[], LoadedModel]
    score_windows: Callable[
        [Sequence[tuple[Waveform, int]], Classifier], "Future[NDArray[np.float32]]"
    ]
    wait_for_gap: Callable[[], None]
    is_draining: Callable[[], bool]
    max_seconds: float
    retention: timedelta
    metrics: ServiceMetrics
