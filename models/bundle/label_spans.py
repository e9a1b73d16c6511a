"""From when to when a label holds in continuous sound, from the labels of overlapping windows.

A border between two labels is half way between the middles of the last window of the one and the
first of the other. A label that holds only for a moment is dropped. Single sounds of the same label
that interrupt it, as a gust interrupts the rain, are part of it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

# A label lasts if it holds for this many clips, of which windows show this share, ...
MIN_CLIPS, MIN_SHOWN_SHARE = 2.0, 0.5
# ... or if its windows cover this share of the sound between two pauses.
MIN_STRETCH_SHARE = 0.6
# Windows without the label, one after another, that do not end it.
MAX_GAP_WINDOWS = 4

SoundT = TypeVar("SoundT")


@dataclass(frozen=True, slots=True)
class LabelledWindow:
    """A window: its first sample, its scores (labels,), and the positions of its labels.

    ``stretch_start`` and ``stretch_end`` (samples) are where the sound around it begins and ends,
    at most a clip before and a hop after the window.
    """

    start: int
    stretch_start: int
    stretch_end: int
    scores: NDArray[np.float32]
    labels: Sequence[int]


@dataclass(frozen=True, slots=True)
class LabelledSound(Generic[SoundT]):
    """A single sound: first and last sample, and the positions of its labels.

    ``goes_on`` is whether continuous sound follows without a pause. ``found`` is what the sound is
    if it is no part of a label that lasts.
    """

    start: int
    end: int
    labels: Sequence[int]
    goes_on: bool
    found: Sequence[SoundT]


@dataclass
class LabelSpan(Generic[SoundT]):
    """A label that holds from sample ``start`` to ``end``, with the windows and sounds of it.

    ``lasts`` is whether it holds for longer than a moment.
    """

    label: int
    start: int
    end: int = 0
    windows: list[LabelledWindow] = field(default_factory=list)
    sounds: list[LabelledSound[SoundT]] = field(default_factory=list)
    lasts: bool = False

    @property
    def scores(self) -> NDArray[np.float32]:
        """The median scores (labels,) of the windows, so that those at a border count less."""
        scores = np.stack([window.scores for window in self.windows])
        median: NDArray[np.float32] = np.median(scores, axis=0)
        return median


class LabelSpans(Generic[SoundT]):
    """Collects the windows and sounds of one recording, in the order of their ends.

    Windows have ``clip_samples`` and begin every ``hop_samples``.
    """

    def __init__(self, clip_samples: int, hop_samples: int) -> None:
        self._clip, self._hop = clip_samples, hop_samples
        self._open: dict[int, LabelSpan[SoundT]] = {}

    def add_window(self, window: LabelledWindow) -> Iterator[LabelSpan[SoundT]]:
        """The spans that have ended before this window."""
        yield from self._end_before(window.start + self._clip)
        for label in window.labels:
            if label not in self._open:
                self._open[label] = LabelSpan(label, self._start(window))
            self._open[label].windows.append(window)

    def add_sound(self, sound: LabelledSound[SoundT]) -> Iterator[LabelSpan[SoundT]]:
        """The spans that have ended before this sound; its own is the last if it has ended too."""
        yield from self._end_before(sound.start)
        open_labels = [label for label in sound.labels if label in self._open]
        if open_labels:
            self._open[open_labels[0]].sounds.append(sound)
            return
        span = LabelSpan(sound.labels[0], sound.start, sound.end, sounds=[sound])
        if sound.goes_on:
            self._open[span.label] = span
        else:
            yield span

    def finish(self) -> Iterator[LabelSpan[SoundT]]:
        """The spans that last until the end of the recording."""
        yield from self._end_before(None)

    @property
    def undecided_from(self) -> float:
        """The earliest start of a label of which it is not known yet whether it lasts."""
        undecided = (span.start for span in self._open.values() if not self._lasts(span))
        return min(undecided, default=math.inf)

    def _end_before(self, sample: int | None) -> Iterator[LabelSpan[SoundT]]:
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

    def _start(self, window: LabelledWindow) -> int:
        if self._open:  # of which none ended more than a gap ago
            shown_until = max(self._shown_until(span) for span in self._open.values())
            return (shown_until + self._middle(window)) // 2
        if window.stretch_start > window.start - self._hop:  # the first window of its sound
            return window.stretch_start
        return self._middle(window) - self._hop // 2

    def _end(self, span: LabelSpan[SoundT]) -> int:
        shown_until = self._shown_until(span)
        if not span.windows or self._middle(span.windows[-1]) < shown_until:  # a sound is the last
            return shown_until
        starts = [other.start for other in self._open.values() if other.start > shown_until]
        if starts:
            return min(starts)
        last = span.windows[-1]
        if last.stretch_end - last.start - self._clip < self._hop:  # the last window of its sound
            return last.stretch_end
        return shown_until + self._hop // 2

    def _middle(self, window: LabelledWindow) -> int:
        return window.start + self._clip // 2

    def _shown_until(self, span: LabelSpan[SoundT]) -> int:
        ends = [self._middle(window) for window in span.windows[-1:]]
        return max(ends + [sound.end for sound in span.sounds[-1:]])

    def _last_sample(self, span: LabelSpan[SoundT]) -> int:
        ends = [window.start + self._clip for window in span.windows[-1:]]
        return max(ends + [sound.end for sound in span.sounds[-1:]])

    def _lasts(self, span: LabelSpan[SoundT]) -> bool:
        if not span.windows:
            return False
        first, last = span.windows[0], span.windows[-1]
        n_samples = last.start + self._clip - first.start
        n_shown = len(span.windows) * self._hop
        if n_samples >= MIN_CLIPS * self._clip and n_shown >= MIN_SHOWN_SHARE * n_samples:
            return True
        return n_samples >= MIN_STRETCH_SHARE * (last.stretch_end - first.stretch_start)
