"""Batches are computed ahead: in order, no more than there are threads, and errors are told."""

import threading
from collections.abc import Callable, Iterator

import pytest
import torch

from earful.training.loaders.compute_ahead import MAX_THREADS, compute_ahead

pytestmark = pytest.mark.usefixtures("two_torch_threads")


def test_the_results_are_in_order() -> None:
    first_may_end = threading.Event()

    def compute(number: int) -> int:
        if number == 0:
            assert first_may_end.wait(60)
        elif number == 1:
            first_may_end.set()
        return number

    tasks: list[Callable[[], int]] = [lambda n=n: compute(n) for n in range(7)]  # type: ignore[misc]
    assert list(compute_ahead(tasks)) == list(range(7))
    assert list(compute_ahead([])) == []


def test_no_more_is_computed_than_threads_can_hold() -> None:
    started: list[int] = []

    def tasks() -> Iterator[Callable[[], int]]:
        for number in range(100):
            started.append(number)
            yield lambda n=number: n  # type: ignore[misc]

    results = compute_ahead(tasks())
    assert next(results) == 0
    results.close()  # type: ignore[attr-defined]
    assert len(started) <= 3


def test_many_cores_hold_a_bounded_number_of_batches() -> None:
    torch.set_num_threads(4 * MAX_THREADS)
    started: list[int] = []
    results = compute_ahead((lambda n=n: started.append(n)) for n in range(100))  # type: ignore[misc]
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert len(started) <= MAX_THREADS + 1


def test_a_thread_computes_alone_and_leaves_the_caller_its_threads() -> None:
    assert list(compute_ahead([torch.get_num_threads])) == [1]
    assert torch.get_num_threads() == 2


def test_an_error_is_told_where_its_result_is_due() -> None:
    def fail() -> int:
        raise ValueError("no such clip")

    results = compute_ahead([lambda: 1, fail, lambda: 3])
    assert next(results) == 1
    with pytest.raises(ValueError, match="no such clip"):
        next(results)
