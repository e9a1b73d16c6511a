"""From when to when a label holds in continuous sound, from the labels of overlapping windows.

A border between two labels is half way between the middles of the last window of the one and the
first of the other. A label that holds only for a moment is dropped. Single sounds of the same label
that interrupt it, as a gust interrupts the rain, are part of it.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.sound_windows import ContinuousWindow, SoundWindows

# A label lasts if it holds for this many clips, of which windows show this share, ...
MIN_CLIPS, MIN_SHOWN_SHARE = 2.0, 0.5
# ... or if its windows cover this share of the sound between two pauses.
MIN_STRETCH_SHARE = 0.6
# Windows without the label, one after another, that do not end it.
MAX_GAP_WINDOWS = 4
# A label that holds for longer is several spans, so that memory has an end: an hour of windows half
# a second apart.
MAX_WINDOWS = 7200

EventT = TypeVar("EventT")


@dataclass
class LabelSpan(Generic[EventT]):
    """A label that holds from sample ``start`` to ``end``.

    Of its windows it has the first, the last, and the scores (labels,) of all; of its single sounds
    the end of the last, and the events that they are if the label does not last.
    """

    label: int
    start: int
    end: int = 0
    first: ContinuousWindow | None = None
    last: ContinuousWindow | None = None
    window_scores: list[NDArray[np.float32]] = field(default_factory=list)
    sounds_end: int = 0
    events: list[EventT] = field(default_factory=list)
    lasts: bool = False

    @property
    def scores(self) -> NDArray[np.float32]:
        """The median scores (labels,) of the windows, so that those at a border count less."""
        median: NDArray[np.float32] = np.median(np.stack(self.window_scores), axis=0)
        return median

    def add_window(self, window: ContinuousWindow, scores: NDArray[np.float32]) -> None:
        self.first = self.first or window
        self.last = window
        self.window_scores.append(scores)

    def add_sound(self, sound: SoundWindows, events: Iterable[EventT]) -> None:
        self.sounds_end = sound.end
        self.events += events


class LabelSpans(Generic[EventT]):
    """Collects the windows and sounds of one recording, in the order of their ends.

    Windows have ``clip_samples`` and begin every ``hop_samples``.
    """

    def __init__(self, clip_samples: int, hop_samples: int) -> None:
        self._clip, self._hop = clip_samples, hop_samples
        self._open: dict[int, LabelSpan[EventT]] = {}

    def add_window(
        self, window: ContinuousWindow, scores: NDArray[np.float32], labels: Iterable[int]
    ) -> Iterator[LabelSpan[EventT]]:
        """The spans that have ended before a window with these scores (labels,) and labels."""
        yield from self._end_before(window.start + self._clip)
        for label in labels:
            span = self._open.get(label)
            if span is not None and len(span.window_scores) == MAX_WINDOWS:
                yield self._cut(span, self._middle(window) - self._hop // 2)
            if label not in self._open:
                self._open[label] = LabelSpan(label, self._start(window))
            self._open[label].add_window(window, scores)

    def add_sound(
        self, sound: SoundWindows, labels: Sequence[int], events: Sequence[EventT]
    ) -> Iterator[LabelSpan[EventT]]:
        """The spans that have ended before this sound; its own is the last if it has ended too.

        ``labels`` begin with the best; ``events`` are what it is if it is no part of a label that
        lasts.
        """
        yield from self._end_before(sound.start)
        span = next((self._open[label] for label in labels if label in self._open), None)
        if span is not None:
            span.add_sound(sound, events)
            return
        span = LabelSpan(labels[0], sound.start, sound.end)
        span.add_sound(sound, events)
        if sound.goes_on:
            self._open[span.label] = span
        else:
            yield span

    def finish(self) -> Iterator[LabelSpan[EventT]]:
        """The spans that last until the end of the recording."""
        yield from self._end_before(None)

    def undecided_from(self, is_wanted: Callable[[LabelSpan[EventT]], bool]) -> float:
        """The earliest start of a label that does not last yet, or is not wanted so far.

        Its single sounds may still count by themselves.
        """
        starts = (
            span.start
            for span in self._open.values()
            if not (self._lasts(span) and is_wanted(span))
        )
        return min(starts, default=math.inf)

    def _end_before(self, sample: int | None) -> Iterator[LabelSpan[EventT]]:
        """End the spans that have not been shown for too long before a sample; None: all."""
        gap = (MAX_GAP_WINDOWS + 1) * self._hop
        ended = [
            span
            for span in self._open.values()
            if sample is None or self._last_sample(span) + gap < sample
        ]
        for span in ended:
            span.end = self._end(span)
            span.lasts = self._lasts(span)
        for span in ended:
            del self._open[span.label]
        yield from ended

    def _cut(self, span: LabelSpan[EventT], end: int) -> LabelSpan[EventT]:
        """End a span that goes on, and begin its next part where it ends."""
        span.end, span.lasts = end, self._lasts(span)
        self._open[span.label] = LabelSpan(span.label, end)
        return span

    def _start(self, window: ContinuousWindow) -> int:
        if self._open:  # of which none ended more than a gap ago
            shown_until = max(self._shown_until(span) for span in self._open.values())
            return (shown_until + self._middle(window)) // 2
        if window.stretch_start > window.start - self._hop:  # the first window of its sound
            return window.stretch_start
        return self._middle(window) - self._hop // 2

    def _end(self, span: LabelSpan[EventT]) -> int:
        shown_until, last = self._shown_until(span), span.last
        if last is None or self._middle(last) < shown_until:  # a sound is the last
            return shown_until
        starts = [other.start for other in self._open.values() if other.start > shown_until]
        if starts:
            return min(starts)
        if last.stretch_end - last.start - self._clip < self._hop:  # the last window of its sound
            return last.stretch_end
        return shown_until + self._hop // 2

    def _middle(self, window: ContinuousWindow) -> int:
        return window.start + self._clip // 2

    def _shown_until(self, span: LabelSpan[EventT]) -> int:
        return max(span.sounds_end, self._middle(span.last) if span.last else 0)

    def _last_sample(self, span: LabelSpan[EventT]) -> int:
        return max(span.sounds_end, span.last.start + self._clip if span.last else 0)

    def _lasts(self, span: LabelSpan[EventT]) -> bool:
        first, last = span.first, span.last
        if first is None or last is None:
            return False
        n_samples = last.start + self._clip - first.start
        n_shown = len(span.window_scores) * self._hop
        if n_samples >= MIN_CLIPS * self._clip and n_shown >= MIN_SHOWN_SHARE * n_samples:
            return True
        return n_samples >= MIN_STRETCH_SHARE * (last.stretch_end - first.stretch_start)
