"""Inputs to result rows: windows are classified in batches that span several inputs."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import Waveform
from earful.data.audio.windows import pad_to_clips
from earful.models.bundle.decision import DECISION_THRESHOLD
from earful.service.batch.input_reader import OnRead
from earful.service.batch.inputs import Input
from earful.service.batch.items import AudioWindow, ClassifyOptions, InputEnd, Item, ItemReader
from earful.service.batch.rows import ResultRow, utf8_name
from earful.service.classifier import MAX_BATCH, Classifier, InferenceError, rank
from earful.service.core.defaults import SCORE_DIGITS
from earful.service.events import Event

# Items that wait for the batch of the windows before them.
_MAX_PENDING = 1000


def classify_inputs(
    classifier: Classifier,
    inputs: Iterable[Input],
    options: ClassifyOptions,
    on_read: OnRead = lambda source, seconds: None,
) -> Iterator[ResultRow | InputEnd]:
    """Yield the rows of each input in order, followed by its ``InputEnd``.

    ``on_read`` is called before an input is read, and repeatedly while a long one is read, with the
    seconds read since the last call. An input on which the model fails has the problem
    ``inference_failed``.

    Raises:
        ModelTimeout: the model does not end.
    """
    rows = _RowBuilder(classifier, options)
    for item, scores in _with_scores(
        classifier, ItemReader(classifier, options, on_read).items(inputs)
    ):
        if isinstance(item, InputEnd):
            yield from rows.finish(item)
            yield item
        else:
            yield from rows.add(*item, scores)


def _with_scores(
    classifier: Classifier, items: Iterable[Item]
) -> Iterator[tuple[Item, NDArray[np.float32]]]:
    """Each item in order, with its scores (labels,). Batches of windows span several inputs."""
    no_scores, size = np.zeros(0, np.float32), classifier.metadata.features.clip_samples

    problem = ""  # of the current input

    def score() -> Iterator[tuple[Item, NDArray[np.float32]]]:
        nonlocal problem
        window_scores = iter(_run_each(classifier, pad_to_clips(clips, size)) if clips else ())
        for item in pending:
            if isinstance(item, InputEnd):
                yield _with_problem(item, problem), no_scores
                problem = ""
                continue
            found = item[1]
            scores = found.scores if isinstance(found, Event) else next(window_scores)
            if isinstance(scores, InferenceError):
                problem = problem or f"inference_failed: {scores}"
            else:
                yield item, scores
        pending.clear()
        clips.clear()

    pending: list[Item] = []
    clips: list[Waveform] = []
    for item in items:
        pending.append(item)
        if not isinstance(item, InputEnd) and isinstance(item[1], AudioWindow):
            clips.append(item[1].clip)
        if len(clips) == MAX_BATCH or len(pending) == _MAX_PENDING:
            yield from score()
    yield from score()


def _with_problem(end: InputEnd, problem: str) -> InputEnd:
    """The end of an input, whose rows do not count if the model has failed on one of them."""
    return replace(end, problem=problem, keeps_rows=False) if problem else end


def _run_each(
    classifier: Classifier, clips: NDArray[np.float32]
) -> Sequence[NDArray[np.float32] | InferenceError]:
    """Scores (labels,) of each clip; if the model fails on a batch, the errors of single clips."""
    try:
        return list(classifier.run(clips))
    except InferenceError as error:
        if len(clips) == 1:
            return [error]
    return [_run_each(classifier, clips[i : i + 1])[0] for i in range(len(clips))]


class _RowBuilder:
    """Builds rows from windows and events with their scores, input by input."""

    def __init__(self, classifier: Classifier, options: ClassifyOptions) -> None:
        self._classifier, self._top_k = classifier, options.top_k
        min_score = options.min_score or 0.0
        self._min_window_score = min_score if options.mode == "windows" else 0.0
        self._decision_threshold = max(DECISION_THRESHOLD, self._min_window_score)
        self._has_rows = False

    def add(
        self, source: Input, found: AudioWindow | Event, scores: NDArray[np.float32]
    ) -> Iterator[ResultRow]:
        """The row of a window or an event; none if the window scores too low."""
        if isinstance(found, Event):
            label, score = found.label, found.score
        elif float(scores.max()) < self._min_window_score:
            return
        else:
            label, score = self._classifier.decide(scores, self._decision_threshold)
        self._has_rows = True
        yield ResultRow(
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

    def _ranked(self, scores: NDArray[np.float32]) -> tuple[tuple[str, float], ...]:
        if self._top_k == 1:
            best = int(scores.argmax())
            return ((self._classifier.labels[best], round(float(scores[best]), SCORE_DIGITS)),)
        best_first = rank(self._classifier.labels, scores)[: self._top_k]
        return tuple((label, round(score, SCORE_DIGITS)) for label, score in best_first)
