"""Detects sound events in a recording: what was heard from when to when.

``data.audio.sound_windows`` cuts a recording into windows of single sounds and of continuous sound,
and the classifier scores them. A single sound is an event of the label that its windows score
highest on average. Continuous sound is an event from where a label begins to where it ends or
another begins, if that lasts. Scores below the model's threshold, and labels that mean background,
give no event. Files, batches and streams use this detector, and get the same events.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform
from earful.data.audio.sound_windows import ContinuousWindow, SoundWindower, SoundWindows
from earful.data.labels.multilabel import SEPARATOR
from earful.models.bundle.decision import predicted_label_mask
from earful.models.bundle.event_options import EventOptions, min_scores
from earful.models.bundle.label_spans import LabelSpan, LabelSpans
from earful.service.classifier import Classifier, ScoreWindows, fill_batches

# The windows of a sound lie this share of a clip before and after the one in its middle.
_WIDEST_OFFSET = 0.1
# Windows that wait for their scores.
PendingEvent = SoundWindows | ContinuousWindow


@dataclass(frozen=True)
class Event:
    """A detected sound: start and end in seconds of the recording, label, and score (0 to 1).

    ``scores`` (labels,) are those of all labels, in the model's order.
    """

    start: float
    end: float
    label: str
    score: float
    scores: NDArray[np.float32] = field(repr=False, compare=False)


def detect_events(
    classifier: Classifier,
    blocks: Iterable[Waveform],
    options: EventOptions | None = None,
    *,
    score_windows: ScoreWindows | None = None,
) -> Iterator[Event]:
    """Events of a recording given in blocks (samples,) at the model's rate.

    They come in order of their starts; one of continuous sound when it has ended, so after those
    within it.
    ``score_windows`` scores windows in place of ``classifier.predict_windows``.

    Raises:
        UsageError: an option is for a label that the model does not have.
        InferenceError: the model fails.
    """
    detector = EventDetector(classifier, options or EventOptions())
    found = _pending_events(detector, blocks)
    with_cuts = ((pending, [(clip, 0) for clip in pending.clips]) for pending in found)
    for pending, scores in fill_batches(with_cuts, score_windows or classifier.predict_windows):
        yield from detector.add(pending, np.stack(scores))
    yield from detector.finish()


def _pending_events(
    detector: "EventDetector", blocks: Iterable[Waveform]
) -> Iterator[PendingEvent]:
    for block in blocks:
        yield from detector.feed(block)
    yield from detector.end_of_audio()


class EventDetector:
    """Finds the events of one recording, for callers that score the windows themselves.

    ``feed`` and ``end_of_audio`` give windows; ``add`` takes their scores in the same order.

    Raises:
        UsageError: an option is for a label that the model does not have.
    """

    def __init__(self, classifier: Classifier, options: EventOptions) -> None:
        rate_hz, clip_samples = classifier.sample_rate_hz, classifier.clip_samples
        self._classifier, self._options, self._rate_hz = classifier, options, rate_hz
        self._windower = SoundWindower(rate_hz, clip_samples, _offsets(clip_samples, options))
        self._score_kind = classifier.metadata.score_kind
        self._min_scores = min_scores(options, classifier.metadata)
        self._spans: LabelSpans[Event] = LabelSpans(clip_samples, self._windower.hop_samples)
        self._n_samples, self._last_start = 0, -np.inf
        self._waiting: list[Event] = []

    def feed(self, samples: Waveform) -> Iterator[PendingEvent]:
        """The windows that these samples (n,) at the model's rate decide."""
        self._n_samples += len(samples)
        return self._windower.feed(samples)

    def end_of_audio(self) -> Iterator[PendingEvent]:
        """The windows that the end of the recording decides."""
        return self._windower.finish()

    def add(self, pending: PendingEvent, scores: NDArray[np.float32]) -> Iterator[Event]:
        """The events that the scores (windows, labels) of the next windows decide."""
        if isinstance(pending, ContinuousWindow):
            labels = self._likely(scores[0]).tolist()
            spans = self._spans.add_window(pending, scores[0], labels)
        else:
            spans = self._add_sound(pending, scores.mean(axis=0, dtype=np.float32))
        self._waiting += self._events(spans)
        return self._decided()

    def finish(self) -> Iterator[Event]:
        """The events that last until the end."""
        self._waiting += self._events(self._spans.finish())
        return self._decided()

    def _add_sound(
        self, sound: SoundWindows, scores: NDArray[np.float32]
    ) -> Iterator[LabelSpan[Event]]:
        likely = self._likely(scores)
        accepted = likely[scores[likely] >= self._min_scores[likely]].tolist()
        earliest_start = self._last_start + self._options.min_gap_seconds * self._rate_hz
        events = []
        if accepted and sound.start >= earliest_start:
            self._last_start = sound.start
            events = [self._event(sound.start, sound.end, accepted, scores)]
        return self._spans.add_sound(sound, accepted or likely.tolist(), events)

    def _decided(self) -> Iterator[Event]:
        """The waiting events before which no other can begin, in order of their starts."""
        if not self._waiting:
            return
        undecided_from = self._spans.undecided_from(self._is_wanted)
        self._waiting.sort(key=lambda event: event.start)
        while self._waiting and self._waiting[0].start * self._rate_hz <= undecided_from:
            yield self._waiting.pop(0)

    def _events(self, spans: Iterable[LabelSpan[Event]]) -> Iterator[Event]:
        """One event for a label that lasts, otherwise those of its single sounds."""
        for span in spans:
            if span.lasts and self._is_wanted(span):
                yield self._event(span.start, span.end, [span.label], span.scores)
            else:
                yield from span.events

    def _is_wanted(self, span: LabelSpan[Event]) -> bool:
        return bool(span.scores[span.label] >= self._min_scores[span.label])

    def _likely(self, scores: NDArray[np.float32]) -> NDArray[np.intp]:
        """Positions of the labels that scores (labels,) have."""
        return np.flatnonzero(predicted_label_mask(scores[None], self._score_kind)[0])

    def _event(
        self, start: int, end: int, labels: Sequence[int], scores: NDArray[np.float32]
    ) -> Event:
        return Event(
            start=round(max(0, start) / self._rate_hz, 3),
            end=round(min(end, self._n_samples) / self._rate_hz, 3),
            label=SEPARATOR.join(self._classifier.labels[label] for label in labels),
            score=float(min(scores[label] for label in labels)),
            scores=scores,
        )


def _offsets(clip_samples: int, options: EventOptions) -> list[int]:
    """Distances in samples of a sound's windows from the one in its middle, a few, both ways."""
    widest = _WIDEST_OFFSET * clip_samples if options.n_windows > 1 else 0.0
    return [round(offset) for offset in np.linspace(-widest, widest, options.n_windows)]
