"""How long a model takes for one clip."""

import time

import numpy as np

from earful.service.classifier import Classifier

_WARM_UP_RUNS, _TIMED_RUNS = 20, 200


def median_latency_ms(classifier: Classifier) -> float:
    """Median latency of one clip at a time on one thread, waveform to probabilities."""
    clip = classifier.metadata.golden.input()
    seconds = []
    for number in range(_WARM_UP_RUNS + _TIMED_RUNS):
        started = time.perf_counter()
        classifier.run(clip)
        if number >= _WARM_UP_RUNS:
            seconds.append(time.perf_counter() - started)
    return 1000 * float(np.median(seconds))
