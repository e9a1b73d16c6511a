"""Batches that threads compute ahead of their use, on a CPU."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch

_T = TypeVar("_T")
# A machine with many cores would else hold as many batches of long clips, with all their steps.
MAX_THREADS = 8


def compute_ahead(tasks: Iterable[Callable[[], _T]]) -> Iterator[_T]:
    """The results of tasks, in order; the next ones are computed meanwhile.

    Each thread computes a task alone: threads that share small operations wait for each other.
    """
    n_threads, waiting = min(torch.get_num_threads(), MAX_THREADS), iter(tasks)
    with ThreadPoolExecutor(
        n_threads, "loader", initializer=torch.set_num_threads, initargs=(1,)
    ) as threads:
        pending = deque(map(threads.submit, islice(waiting, n_threads)))
        while pending:
            result = pending.popleft().result()
            pending.extend(map(threads.submit, islice(waiting, 1)))
            yield result
