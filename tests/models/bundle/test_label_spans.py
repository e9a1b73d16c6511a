"""From when to when a label holds: borders, gaps, single sounds, and an end to memory."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from earful.data.audio.sound_windows import ContinuousWindow, SoundWindows
from earful.models.bundle.label_spans import MAX_GAP_WINDOWS, MAX_WINDOWS, LabelSpan, LabelSpans

CLIP, HOP = 100, 50
# A sound that goes on for longer than what is looked at.
GOES_ON = (-10 * CLIP, 10 * CLIP)
CLIPS = np.zeros((1, CLIP), np.float32)
# Adds a window or a sound to the spans.
Add = Callable[[LabelSpans[str]], Iterator[LabelSpan[str]]]


def window(
    start: int,
    *labels: int,
    stretch: tuple[int, int] | None = None,
    scores: NDArray[np.float32] | None = None,
) -> Add:
    first, last = (start + GOES_ON[0], start + GOES_ON[1]) if stretch is None else stretch
    if scores is None:
        scores = np.zeros(3, np.float32)
        scores[list(labels)] = 0.9
    shown = ContinuousWindow(start, CLIPS, first, last)
    return lambda spans: spans.add_window(shown, scores, labels)


def sound(start: int, end: int, label: int, *, goes_on: bool = False) -> Add:
    found = SoundWindows(start, end, goes_on, CLIPS)
    return lambda spans: spans.add_sound(found, (label,), (f"{label} at {start}",))


def collect(shown: Sequence[Add]) -> list[LabelSpan[str]]:
    spans: LabelSpans[str] = LabelSpans(CLIP, HOP)
    found = [span for add in shown for span in add(spans)]
    return [*found, *spans.finish()]


def lasting(spans: Sequence[LabelSpan[str]]) -> list[tuple[int, int, int]]:
    ordered = sorted(spans, key=lambda span: span.start)
    return [(span.label, span.start, span.end) for span in ordered if span.lasts]


def test_a_border_is_half_way_between_the_windows_of_two_labels() -> None:
    shown = [window(HOP * n, 0 if n < 10 else 1, stretch=(0, 1_100)) for n in range(21)]
    assert lasting(collect(shown)) == [(0, 0, 525), (1, 525, 1_100)]


def test_a_few_windows_without_the_label_do_not_end_it() -> None:
    def gap(n_windows: int) -> list[Add]:
        silent = range(10, 10 + n_windows)
        return [window(HOP * n, *(() if n in silent else (0,))) for n in range(30)]

    assert len(lasting(collect(gap(MAX_GAP_WINDOWS)))) == 1
    assert len(lasting(collect(gap(MAX_GAP_WINDOWS + 4)))) == 2


def test_a_label_of_a_moment_does_not_last_unless_it_is_all_there_is() -> None:
    shown = [window(HOP * n, 1 if n == 10 else 0) for n in range(21)]
    assert [label for label, _, _ in lasting(collect(shown))] == [0]
    between_pauses = [window(500, 2, stretch=(480, 620))]
    assert lasting(collect(between_pauses)) == [(2, 480, 620)]


def test_single_sounds_are_part_of_a_label_that_lasts() -> None:
    windows = [window(HOP * n, 0) for n in range(10)]
    [span] = collect([*windows, sound(560, 590, 0, goes_on=True), window(600, 0)])
    assert span.lasts
    assert span.events == ["0 at 560"]


def test_a_single_sound_alone_is_complete_at_once() -> None:
    spans: LabelSpans[str] = LabelSpans(CLIP, HOP)
    [span] = sound(30, 60, 1)(spans)
    assert not span.lasts
    assert span.events == ["1 at 30"]
    assert list(spans.finish()) == []


def test_a_sound_that_goes_on_waits_for_what_follows() -> None:
    spans: LabelSpans[str] = LabelSpans(CLIP, HOP)
    assert list(sound(30, 60, 1, goes_on=True)(spans)) == []
    assert spans.undecided_from(lambda span: True) == 30
    for n in range(1, 8):
        assert list(window(HOP * n, 1)(spans)) == []
    assert spans.undecided_from(lambda span: True) == np.inf
    assert spans.undecided_from(lambda span: False) == 30
    [span] = spans.finish()
    assert (span.lasts, span.start) == (True, 30)


def test_scores_are_medians_so_that_borders_count_less() -> None:
    windows = [window(HOP * n, 0) for n in range(9)]
    blurred = window(450, 0, scores=np.array([0.4, 0.3, 0.3], np.float32))
    [span] = collect([*windows, blurred])
    assert span.scores[0] == pytest.approx(0.9)


def test_a_label_that_holds_for_ever_is_cut_without_a_gap() -> None:
    n_windows = 2 * MAX_WINDOWS + 100
    spans = lasting(collect([window(HOP * n, 0) for n in range(n_windows)]))
    assert len(spans) == 3
    assert [span[2] for span in spans[:-1]] == [span[1] for span in spans[1:]]
