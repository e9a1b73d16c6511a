"""Inputs to what is heard in them: read, cut into windows, batched across files, one row each.

Short recordings are decoded whole; long ones are read piece by piece, so that memory stays flat.
"""

import sys
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import (
    FILE_LIMITS,
    AudioError,
    AudioLimits,
    Decoded,
    Waveform,
    cut,
    decode,
    read_file,
)
from earful.data.audio.stream_reader import (
    loudest_window,
    read_blocks,
    read_stretch,
    stream_windows,
)
from earful.data.audio.windows import loudest_start, pad_to_clips, window_starts
from earful.models.bundle.decision import SAID_FROM
from earful.service.batch.inputs import STANDARD_INPUT, Input
from earful.service.batch.remote import fetch, fetched, is_remote
from earful.service.batch.rows import SCORE_DIGITS, Row, printable
from earful.service.classifier import MAX_BATCH, WINDOW_HOP_FRACTION, Classifier, rank

# (input, seconds heard of it since the last call)
OnRead = Callable[[Input, float], None]
# What is longer or larger is read piece by piece.
WHOLE = AudioLimits(max_bytes=8 << 20, max_seconds=60.0)


@dataclass(frozen=True)
class Options:
    """What rows are made of a recording: one, or with ``windows`` one a window or a hit.

    hop_seconds  from window to window; a quarter of a clip when None
    min_score    windows below it are left out, and of several labels at once those below it
    merge        neighbouring windows with the same label become one row with the best score
    top_k        how many labels a row names
    """

    windows: bool = False
    hop_seconds: float | None = None
    min_score: float = 0.0
    merge: bool = False
    top_k: int = 1


@dataclass(frozen=True, slots=True)
class Ended:
    """The end of an input: the seconds heard of it, or what is wrong with it, ``code: message``.

    A problem may show late; then the rows that the input has given so far are void.
    """

    source: Input
    seconds: float = 0.0
    problem: str = ""

    def error_row(self) -> Row:
        """The row of an input that has a problem."""
        name, problem = printable(self.source.source), printable(self.problem)
        return Row(name, error=problem, truth=self.source.truth)


@dataclass(frozen=True, slots=True)
class _Window:
    start_seconds: float
    end_seconds: float
    clip: Waveform


def hear(
    classifier: Classifier,
    inputs: Iterable[Input],
    options: Options,
    on_read: OnRead = lambda source, seconds: None,
) -> Iterator[Row | Ended]:
    """The rows of each input in order, each followed by its ``Ended``.

    ``on_read`` hears of an input before it is read, and again and again while it is, each time with
    the seconds heard since.

    Raises:
        InferenceError: the model fails.
    """
    rows = _Rows(classifier, options)
    for item, scores in _scored(classifier, _Reader(classifier, options, on_read).items(inputs)):
        if isinstance(item, Ended):
            yield from rows.finish(item)
            yield item
        else:
            yield from rows.add(item, scores)


def _scored(
    classifier: Classifier, items: Iterable[tuple[Input, _Window] | Ended]
) -> Iterator[tuple[tuple[Input, _Window] | Ended, NDArray[np.float32]]]:
    """Each item in order, windows with their scores (labels,): batches reach across inputs."""
    nothing, size = np.zeros(0, np.float32), classifier.metadata.features.clip_samples

    def score() -> Iterator[tuple[tuple[Input, _Window] | Ended, NDArray[np.float32]]]:
        found = iter(classifier.run(pad_to_clips(clips, size)) if clips else ())
        for item in pending:
            yield item, nothing if isinstance(item, Ended) else next(found)
        pending.clear()
        clips.clear()

    pending: list[tuple[Input, _Window] | Ended] = []
    clips: list[Waveform] = []
    for item in items:
        pending.append(item)
        if not isinstance(item, Ended):
            clips.append(item[1].clip)
        if len(clips) == MAX_BATCH:
            yield from score()
    yield from score()


class _Rows:
    """Windows of one input after the other to rows."""

    def __init__(self, classifier: Classifier, options: Options) -> None:
        self._classifier = classifier
        self._options = options
        self._hit: Row | None = None  # that may still be merged with what follows
        self._given = False

    def add(self, item: tuple[Input, _Window], scores: NDArray[np.float32]) -> Iterator[Row]:
        source, window = item
        if float(scores.max()) < self._options.min_score:
            return
        label, score = self._classifier.answer(scores, max(SAID_FROM, self._options.min_score))
        row = Row(
            printable(source.source), round(window.start_seconds, 6), round(window.end_seconds, 6),
            label, round(score, SCORE_DIGITS), self._ranked(scores), truth=source.truth,
        )  # fmt: skip
        last = self._hit
        if last is not None and self._options.merge and last.touches(row):
            self._hit = last.merged(row)
            return
        yield from self._release()
        self._hit = row

    def finish(self, end: Ended) -> Iterator[Row]:
        """What is left of an input; where it has no hit, a row that says so, without a label."""
        yield from self._release()
        if not self._given and not end.problem:
            start = end.source.start_seconds or 0.0
            name, until = printable(end.source.source), round(start + end.seconds, 6)
            yield Row(name, start, until, truth=end.source.truth)
        self._given = False

    def _release(self) -> Iterator[Row]:
        if self._hit is not None:
            yield self._hit
            self._hit, self._given = None, True

    def _ranked(self, scores: NDArray[np.float32]) -> tuple[tuple[str, float], ...]:
        if self._options.top_k == 1:
            best = int(scores.argmax())
            return ((self._classifier.labels[best], round(float(scores[best]), SCORE_DIGITS)),)
        best_first = rank(self._classifier.labels, scores)[: self._options.top_k]
        return tuple((label, round(score, SCORE_DIGITS)) for label, score in best_first)


class _Reader:
    """Inputs to windows."""

    def __init__(self, classifier: Classifier, options: Options, on_read: OnRead) -> None:
        config = classifier.metadata.features
        self._rate_hz, self._clip = config.sample_rate_hz, config.clip_samples
        hop_seconds = options.hop_seconds or config.clip_seconds * WINDOW_HOP_FRACTION
        self._hop = max(1, round(hop_seconds * self._rate_hz))
        self._windows = options.windows
        self._on_read = on_read
        self._last: tuple[str, Decoded | AudioError | None] | None = None

    def items(self, inputs: Iterable[Input]) -> Iterator[tuple[Input, _Window] | Ended]:
        for source in inputs:
            self._on_read(source, 0.0)
            seconds, problem = 0.0, source.problem
            try:
                if not problem:
                    seconds = yield from self._read(source)
            except AudioError as error:
                problem = f"{error.code}: {error}"
            yield Ended(source, seconds, problem)

    def _read(self, source: Input) -> Generator[tuple[Input, _Window], None, float]:
        """All windows of an input; how many seconds it has."""
        if source.start_seconds is not None:
            waveform = self._stretch(source, source.start_seconds, source.end_seconds or 0.0)
            yield from self._of_waveform(source, waveform, source.start_seconds)
            return len(waveform) / self._rate_hz
        try:
            blob = _read_bytes(source)
            if blob is not None:
                decoded = decode(blob, self._rate_hz, WHOLE)
                yield from self._of_waveform(source, decoded.waveform, 0.0)
                return decoded.seconds
        except AudioError as error:
            if error.code not in ("too_long", "too_large"):
                raise
        if source.source == STANDARD_INPUT:
            raise AudioError(
                "too_large", "more than a minute, or 8 MB, on standard input; save it to a file"
            )
        if not is_remote(source.source):
            return (yield from self._of_recording(source, Path(source.source)))
        with fetched(source.source, lambda: self._on_read(source, 0.0)) as local:
            return (yield from self._of_recording(source, local))

    def _of_waveform(
        self, source: Input, waveform: Waveform, offset_seconds: float
    ) -> Iterator[tuple[Input, _Window]]:
        if not self._windows:
            start = loudest_start(waveform, self._clip) if len(waveform) > self._clip else 0
            end = offset_seconds + len(waveform) / self._rate_hz
            piece = waveform[start : start + self._clip]
            if len(piece) < len(waveform):
                piece = piece.copy()  # a view would keep the whole until its batch is full
            yield source, _Window(offset_seconds, end, piece)
            return
        for first in window_starts(len(waveform), self._clip, self._hop).tolist():
            piece = waveform[first : first + self._clip]
            yield source, self._at(piece, first, offset_seconds)

    def _of_recording(
        self, source: Input, path: Path
    ) -> Generator[tuple[Input, _Window], None, float]:
        if not self._windows:
            _, piece, total = loudest_window(self._blocks(source, path), self._clip)
            yield source, _Window(0.0, total / self._rate_hz, piece)
            return total / self._rate_hz
        end = 0.0
        blocks = self._blocks(source, path)()
        for first, piece in stream_windows(blocks, self._clip, self._hop):
            window = self._at(piece, first, 0.0)
            end = window.end_seconds
            yield source, window
        return end

    def _blocks(self, source: Input, path: Path) -> Callable[[], Iterator[Waveform]]:
        def blocks() -> Iterator[Waveform]:
            for block in read_blocks(path, self._rate_hz):
                self._on_read(source, len(block) / self._rate_hz)
                yield block

        return blocks

    def _at(self, piece: Waveform, first: int, offset_seconds: float) -> _Window:
        start, end = first / self._rate_hz, (first + len(piece)) / self._rate_hz
        return _Window(offset_seconds + start, offset_seconds + end, piece)

    def _stretch(self, source: Input, start_seconds: float, end_seconds: float) -> Waveform:
        """A stretch of a file; short files are decoded once for those that follow one another."""
        whole = self._whole_file(source)
        if whole is not None:
            return cut(whole, start_seconds, end_seconds)
        return read_stretch(
            self._blocks(source, Path(source.source)), self._rate_hz, start_seconds, end_seconds
        )

    def _whole_file(self, source: Input) -> Decoded | None:
        """A file, or None where it is too long to hold."""
        if self._last is None or self._last[0] != source.source:
            self._last = (source.source, self._try_whole(source))
        found = self._last[1]
        if isinstance(found, AudioError):
            raise found
        return found

    def _try_whole(self, source: Input) -> Decoded | AudioError | None:
        limits = FILE_LIMITS if is_remote(source.source) else WHOLE
        try:
            blob = _read_bytes(source, limits)
            return None if blob is None else decode(blob, self._rate_hz, limits)
        except AudioError as error:
            long = error.code in ("too_long", "too_large") and limits is WHOLE
            return None if long else error


def _read_bytes(source: Input, limits: AudioLimits = WHOLE) -> bytes | None:
    """The bytes of an input, or None where there are too many to hold."""
    if source.source == STANDARD_INPUT:
        blob = sys.stdin.buffer.read(limits.max_bytes + 1)
        return blob if len(blob) <= limits.max_bytes else None
    if is_remote(source.source):
        return fetch(source.source, limits.max_bytes)
    return read_file(source.source, limits)
