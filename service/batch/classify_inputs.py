"""Inputs to result rows: windows are classified in batches that span several inputs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from earful.models.bundle.decision import DECISION_THRESHOLD
from earful.service.batch.input_reader import OnRead
from earful.service.batch.inputs import Input
from earful.service.batch.items import AudioWindow, ClassifyOptions, InputEnd, Item, ItemReader
from earful.service.batch.rows import ResultRow, utf8_name
from earful.service.classifier import Classifier, Cut, InferenceError, fill_batches, rank
from earful.service.core.defaults import SCORE_DIGITS

if TYPE_CHECKING:
    from earful.service.events import Event

Scores = NDArray[np.float32]


def classify_inputs(
    classifier: Classifier,
    inputs: Iterable[Input],
    options: ClassifyOptions,
    on_read: OnRead = lambda source, seconds: None,
) -> Iterator[ResultRow | InputEnd]:
    """Yield the rows of each input in order, followed by its ``InputEnd``.

    ``on_read`` is called before an input is read, and repeatedly while a long one is read, with the
    seconds read since the last call. An input on which the model fails has the problem
    ``inference_failed``, and its rows do not count.

    Raises:
        ModelTimeout: the model does not end.
    """
    rows = _RowBuilder(classifier, options)
    items = ItemReader(classifier, options, on_read).items(inputs)
    with_cuts = ((item, _cuts(item)) for item in items)
    problem = ""  # of the current input
    for item, answers in fill_batches(with_cuts, partial(_predict_each, classifier)):
        if isinstance(item, InputEnd):
            end = replace(item, problem=problem, keeps_rows=False) if problem else item
            problem = ""
            yield from rows.finish(end)
            yield end
            continue
        source, found = item
        if not isinstance(found, AudioWindow):
            yield rows.event(source, found)
        elif isinstance(answers[0], InferenceError):
            problem = problem or f"inference_failed: {answers[0]}"
        else:
            yield from rows.window(source, found, answers[0])


def _cuts(item: Item) -> Sequence[Cut]:
    """The window to predict; an event has its scores already."""
    if isinstance(item, InputEnd) or not isinstance(item[1], AudioWindow):
        return ()
    return ((item[1].clip, 0),)


def _predict_each(
    classifier: Classifier, windows: Sequence[Cut]
) -> Sequence[Scores | InferenceError]:
    """Scores (labels,) of each window; if the model fails on a batch, the errors of single ones."""
    try:
        return list(classifier.predict_windows(windows))
    except InferenceError as error:
        if len(windows) == 1:
            return [error]
    return [_predict_each(classifier, [window])[0] for window in windows]


class _RowBuilder:
    """Builds rows from windows and events with their scores, input by input."""

    def __init__(self, classifier: Classifier, options: ClassifyOptions) -> None:
        self._classifier, self._top_k = classifier, options.top_k
        min_score = options.min_score or 0.0
        self._min_window_score = min_score if options.mode == "windows" else 0.0
        self._decision_threshold = max(DECISION_THRESHOLD, self._min_window_score)
        self._has_rows = False

    def event(self, source: Input, event: "Event") -> ResultRow:
        """The row of an event."""
        return self._row(source, event, event.label, event.score, event.scores)

    def window(self, source: Input, window: AudioWindow, scores: Scores) -> Iterator[ResultRow]:
        """The row of a window with scores (labels,); none if they are too low."""
        if float(scores.max()) >= self._min_window_score:
            decided = self._classifier.decide(scores, self._decision_threshold)
            yield self._row(source, window, *decided, scores)

    def _row(
        self,
        source: Input,
        found: "AudioWindow | Event",
        label: str,
        score: float,
        scores: Scores,
    ) -> ResultRow:
        self._has_rows = True
        return ResultRow(
            filename=utf8_name(source.location),
            start=round(found.start, 6),
            end=round(found.end, 6),
            label=label,
            score=round(score, SCORE_DIGITS),
            scores=self._ranked(scores),
            expected=source.expected,
        )

    def finish(self, end: InputEnd) -> Iterator[ResultRow]:
        """A row without a label for an input that has given no row and has no problem."""
        if not self._has_rows and not end.problem:
            start = end.source.start_seconds or 0.0
            yield ResultRow(
                filename=utf8_name(end.source.location),
                start=start,
                end=round(start + end.seconds, 6),
                expected=end.source.expected,
            )
        self._has_rows = False

    def _ranked(self, scores: Scores) -> tuple[tuple[str, float], ...]:
        if self._top_k == 1:
            best = int(scores.argmax())
            return ((self._classifier.labels[best], round(float(scores[best]), SCORE_DIGITS)),)
        best_first = rank(self._classifier.labels, scores)[: self._top_k]
        return tuple((label, round(score, SCORE_DIGITS)) for label, score in best_first)
