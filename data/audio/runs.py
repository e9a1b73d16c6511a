"""Runs of true values in arrays, and slices that reach beyond an array."""

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_T = TypeVar("_T", bound=np.generic)


def padded(values: NDArray[_T], first: int, length: int) -> NDArray[_T]:
    """A copy of ``length`` values from position ``first``, zeros where there are none."""
    padded = np.zeros(length, values.dtype)
    found = values[max(0, first) : max(0, first + length)]
    begin = max(0, -first)
    padded[begin : begin + len(found)] = found
    return padded


def run_length(values: NDArray[np.bool_]) -> int:
    """How many of the first values are true."""
    return int(values.argmin()) if not values.all() else len(values)


def longest_run(values: NDArray[np.bool_]) -> slice:
    """The longest run of true values."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], values.astype(np.int8), [0]])))
    starts, ends = edges[::2], edges[1::2]
    if not len(starts):
        return slice(0, 0)
    longest = int((ends - starts).argmax())
    return slice(int(starts[longest]), int(ends[longest]))
