"""The length of clips from those of recordings, at its borders, and windows of long ones."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earful.data.dataset.clip_length import (
    MAX_WINDOWS,
    MAX_WINDOWS_PER_RECORDING,
    ClipLength,
    choose_clip_length,
    fits,
    max_windows_each,
    window_spans,
)


@pytest.mark.parametrize(
    ("lengths", "seconds"),
    [
        ([0.3, 0.6, 1.0], 1.0),
        ([1.0] * 95 + [9.0] * 5, 1.0),
        ([1.0] * 94 + [9.0] * 6, 10.0),
        ([5.0] * 40, 5.0),
        ([5.05] * 40, 5.0),
        ([5.06] * 40, 6.0),
        ([1.2] * 40, 1.5),
        ([10.1] * 40, 10.0),
        ([4.0] * 95 + [30.0] * 5, 4.0),
        ([], 1.0),
    ],
)
def test_the_shortest_round_length_that_holds_95_percent_is_chosen(
    lengths: list[float], seconds: float
) -> None:
    chosen = choose_clip_length(lengths)
    assert (chosen.seconds, chosen.windowed) == (seconds, False)


@pytest.mark.parametrize(
    ("lengths", "share"), [([30.0] * 8, 0.0), ([10.11] * 4, 0.0), ([1.0] * 9 + [60.0], 0.9)]
)
def test_longer_recordings_become_windows_of_5_s(lengths: list[float], share: float) -> None:
    assert choose_clip_length(lengths) == ClipLength(5.0, share, windowed=True)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        (0.0, 30.0, [(5.0 * n, 5.0 * n + 5) for n in range(6)]),
        (0.0, 12.4, [(0.0, 5.0), (5.0, 10.0)]),
        (0.0, 12.5, [(0.0, 5.0), (5.0, 10.0), (10.0, 12.5)]),
        (2.0, 12.0, [(2.0, 7.0), (7.0, 12.0)]),
        (0.0, 7.4, []),
        (0.0, 5.0, []),
        (0.0, 0.0, []),
    ],
)
def test_windows_lie_side_by_side_and_half_a_window_is_kept(
    start: float, end: float, expected: list[tuple[float, float]]
) -> None:
    assert window_spans(start, end, 5.0, 60) == expected


def test_of_too_many_windows_those_over_the_whole_recording_remain() -> None:
    spans = window_spans(0.0, 3600.0, 5.0, 60)
    assert len(spans) == 60
    assert (spans[0], spans[-1]) == ((0.0, 5.0), (3595.0, 3600.0))
    gaps = np.diff([start for start, _ in spans])
    assert gaps.max() - gaps.min() <= 5.0


def test_all_windows_together_are_bounded() -> None:
    assert max_windows_each(10) == MAX_WINDOWS_PER_RECORDING
    assert max_windows_each(24_000) * 24_000 <= MAX_WINDOWS
    assert max_windows_each(10 * MAX_WINDOWS) == 1


@given(
    start=st.floats(0, 1e4, allow_subnormal=False),
    length=st.floats(0.01, 4e3, allow_subnormal=False),
    seconds=st.sampled_from([1.0, 2.5, 5.0, 10.0]),
    most=st.integers(1, 80),
)
def test_windows_are_inside_in_order_and_no_shorter_than_half(
    start: float, length: float, seconds: float, most: int
) -> None:
    spans = window_spans(start, start + length, seconds, most)
    assert len(spans) <= most
    assert not (fits(length, seconds) and spans)
    for first, last in spans:
        assert start - 1e-5 <= first < last <= start + length + 1e-5
        assert seconds / 2 - 1e-5 <= last - first <= seconds + 1e-5
    assert all(a[1] <= b[0] + 1e-5 for a, b in itertools.pairwise(spans))
