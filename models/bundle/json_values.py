"""Numbers from JSON metadata; texts and truth values that Python would convert are refused."""

import math
from typing import Any


def count(value: Any) -> int:
    """A whole number from 0 on.

    Raises:
        ValueError: it is another value.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"expected a whole number from 0 on, found {value!r}")
    return value


def probability(value: Any) -> float:
    """A number from 0 to 1.

    Raises:
        ValueError: it is another value.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"expected a number from 0 to 1, found {value!r}")
    return float(value)


def positive(value: Any) -> float:
    """A finite number above 0.

    Raises:
        ValueError: it is another value.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"expected a finite number above 0, found {value!r}")
    return float(value)
