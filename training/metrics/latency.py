"""How long a model takes for one clip."""

import time
from collections.abc import Callable

import numpy as np

from earful.service.classifier import Classifier

_WARM_UP_RUNS, _TIMED_RUNS = 20, 200


def median_latency_ms(classifier: Classifier) -> float:
    """Median latency of one clip at a time on one thread, waveform to probabilities."""
    clip = classifier.metadata.golden.input()
    return median_call_ms(lambda: classifier.run(clip))


def median_call_ms(call: Callable[[], object]) -> float:
    """Median time of a call, after some that warm up."""
    seconds = []
    for _ in range(_WARM_UP_RUNS + _TIMED_RUNS):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds[_WARM_UP_RUNS:]))
