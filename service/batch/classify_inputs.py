"""Inputs to result rows: read, cut into windows, classify in batches across files.

Short recordings are decoded whole. Long ones are read block by block, so that memory stays flat.
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
    decode,
    extract_segment,
    read_file,
)
from earful.data.audio.stream_reader import (
    loudest_window,
    read_blocks,
    read_segment,
    stream_windows,
)
from earful.data.audio.windows import loudest_start, pad_to_clips, window_starts
from earful.models.bundle.decision import DECISION_THRESHOLD
from earful.service.batch.inputs import STANDARD_INPUT, Input
from earful.service.batch.remote import fetch_bytes, fetch_to_file, is_remote
from earful.service.batch.rows import SCORE_DIGITS, ResultRow, printable
from earful.service.classifier import MAX_BATCH, WINDOW_HOP_FRACTION, Classifier, rank

# (input, seconds of it read since the last call)
OnRead = Callable[[Input, float], None]
# Longer or larger recordings are read block by block.
IN_MEMORY_LIMITS = AudioLimits(max_bytes=8 << 20, max_seconds=60.0)


@dataclass(frozen=True)
class ClassifyOptions:
    """How a recording becomes rows.

    windows      one row per window; without it, one row per recording (its loudest clip)
    hop_seconds  distance between windows; a quarter of a clip when None
    min_score    leave out windows whose best score is lower; a multi-label model also leaves out
                 each label below it
    merge        join overlapping windows of the same label to one row with the best score
    top_k        number of labels with their scores in a row
    """

    windows: bool = False
    hop_seconds: float | None = None
    min_score: float = 0.0
    merge: bool = False
    top_k: int = 1


@dataclass(frozen=True, slots=True)
class InputEnd:
    """The end of an input: its length in seconds, or its problem as ``code: message``.

    A problem may appear late in a file; the rows that the input has given so far are then invalid.
    """

    source: Input
    seconds: float = 0.0
    problem: str = ""

    def error_row(self) -> ResultRow:
        """The row of an input with a problem."""
        name, problem = printable(self.source.location), printable(self.problem)
        return ResultRow(name, error=problem, expected=self.source.expected)


@dataclass(frozen=True, slots=True)
class _Window:
    start_seconds: float
    end_seconds: float
    clip: Waveform


def classify_inputs(
    classifier: Classifier,
    inputs: Iterable[Input],
    options: ClassifyOptions,
    on_read: OnRead = lambda source, seconds: None,
) -> Iterator[ResultRow | InputEnd]:
    """Yield the rows of each input in order, followed by its ``InputEnd``.

    ``on_read`` is called before an input is read, and repeatedly while a long one is read, with the
    seconds read since the last call.

    Raises:
        InferenceError: the model fails.
    """
    rows = _RowBuilder(classifier, options)
    for item, scores in _with_scores(
        classifier, _WindowReader(classifier, options, on_read).items(inputs)
    ):
        if isinstance(item, InputEnd):
            yield from rows.finish(item)
            yield item
        else:
            yield from rows.add(item, scores)


def _with_scores(
    classifier: Classifier, items: Iterable[tuple[Input, _Window] | InputEnd]
) -> Iterator[tuple[tuple[Input, _Window] | InputEnd, NDArray[np.float32]]]:
    """Each item in order, windows with their scores (labels,). Batches span several inputs."""
    no_scores, size = np.zeros(0, np.float32), classifier.metadata.features.clip_samples

    def score() -> Iterator[tuple[tuple[Input, _Window] | InputEnd, NDArray[np.float32]]]:
        window_scores = iter(classifier.run(pad_to_clips(clips, size)) if clips else ())
        for item in pending:
            yield item, no_scores if isinstance(item, InputEnd) else next(window_scores)
        pending.clear()
        clips.clear()

    pending: list[tuple[Input, _Window] | InputEnd] = []
    clips: list[Waveform] = []
    for item in items:
        pending.append(item)
        if not isinstance(item, InputEnd):
            clips.append(item[1].clip)
        if len(clips) == MAX_BATCH:
            yield from score()
    yield from score()


class _RowBuilder:
    """Builds rows from scored windows, input by input."""

    def __init__(self, classifier: Classifier, options: ClassifyOptions) -> None:
        self._classifier = classifier
        self._options = options
        self._hit: ResultRow | None = None  # may still be merged with the next window
        self._has_rows = False

    def add(self, item: tuple[Input, _Window], scores: NDArray[np.float32]) -> Iterator[ResultRow]:
        source, window = item
        if float(scores.max()) < self._options.min_score:
            return
        label, score = self._classifier.decide(
            scores, max(DECISION_THRESHOLD, self._options.min_score)
        )
        row = ResultRow(
            filename=printable(source.location),
            start=round(window.start_seconds, 6),
            end=round(window.end_seconds, 6),
            label=label,
            score=round(score, SCORE_DIGITS),
            scores=self._ranked(scores),
            expected=source.expected,
        )
        last = self._hit
        if last is not None and self._options.merge and last.continues_into(row):
            self._hit = last.merge_with(row)
            return
        yield from self._release()
        self._hit = row

    def finish(self, end: InputEnd) -> Iterator[ResultRow]:
        """The last row of an input; a row without a label if no window scored high enough."""
        yield from self._release()
        if not self._has_rows and not end.problem:
            start = end.source.start_seconds or 0.0
            yield ResultRow(
                filename=printable(end.source.location),
                start=start,
                end=round(start + end.seconds, 6),
                expected=end.source.expected,
            )
        self._has_rows = False

    def _release(self) -> Iterator[ResultRow]:
        if self._hit is not None:
            yield self._hit
            self._hit, self._has_rows = None, True

    def _ranked(self, scores: NDArray[np.float32]) -> tuple[tuple[str, float], ...]:
        if self._options.top_k == 1:
            best = int(scores.argmax())
            return ((self._classifier.labels[best], round(float(scores[best]), SCORE_DIGITS)),)
        best_first = rank(self._classifier.labels, scores)[: self._options.top_k]
        return tuple((label, round(score, SCORE_DIGITS)) for label, score in best_first)


class _WindowReader:
    """Reads inputs and cuts them into windows."""

    def __init__(self, classifier: Classifier, options: ClassifyOptions, on_read: OnRead) -> None:
        config = classifier.metadata.features
        self._rate_hz, self._clip_samples = config.sample_rate_hz, config.clip_samples
        hop_seconds = options.hop_seconds or config.clip_seconds * WINDOW_HOP_FRACTION
        self._hop_samples = max(1, round(hop_seconds * self._rate_hz))
        self._all_windows = options.windows
        self._on_read = on_read
        self._last_file: tuple[str, Decoded | AudioError | None] | None = None

    def items(self, inputs: Iterable[Input]) -> Iterator[tuple[Input, _Window] | InputEnd]:
        for source in inputs:
            self._on_read(source, 0.0)
            seconds, problem = 0.0, source.problem
            try:
                if not problem:
                    seconds = yield from self._read(source)
            except AudioError as error:
                problem = f"{error.code}: {error}"
            yield InputEnd(source, seconds, problem)

    def _read(self, source: Input) -> Generator[tuple[Input, _Window], None, float]:
        """Yield the windows of an input; return its length in seconds."""
        if source.start_seconds is not None:
            waveform = self._segment(source, source.start_seconds, source.end_seconds or 0.0)
            yield from self._windows_of_waveform(source, waveform, source.start_seconds)
            return len(waveform) / self._rate_hz
        try:
            blob = _read_bytes(source)
            if blob is not None:
                decoded = decode(blob, self._rate_hz, IN_MEMORY_LIMITS)
                yield from self._windows_of_waveform(source, decoded.waveform, 0.0)
                return decoded.seconds
        except AudioError as error:
            if error.code not in ("too_long", "too_large"):
                raise
        if source.location == STANDARD_INPUT:
            raise AudioError(
                "too_large",
                "audio on standard input may have one minute and 8 MB; save it to a file and give "
                "its name",
            )
        if not is_remote(source.location):
            return (yield from self._windows_of_recording(source, Path(source.location)))
        with fetch_to_file(source.location, lambda: self._on_read(source, 0.0)) as local:
            return (yield from self._windows_of_recording(source, local))

    def _windows_of_waveform(
        self, source: Input, waveform: Waveform, offset_seconds: float
    ) -> Iterator[tuple[Input, _Window]]:
        if not self._all_windows:
            start = (
                loudest_start(waveform, self._clip_samples)
                if len(waveform) > self._clip_samples
                else 0
            )
            end = offset_seconds + len(waveform) / self._rate_hz
            samples = waveform[start : start + self._clip_samples]
            if len(samples) < len(waveform):
                samples = samples.copy()  # a view would keep the whole waveform in memory
            yield source, _Window(offset_seconds, end, samples)
            return
        for first in window_starts(len(waveform), self._clip_samples, self._hop_samples).tolist():
            samples = waveform[first : first + self._clip_samples]
            yield source, self._window_at(samples, first, offset_seconds)

    def _windows_of_recording(
        self, source: Input, path: Path
    ) -> Generator[tuple[Input, _Window], None, float]:
        if not self._all_windows:
            _, samples, total = loudest_window(self._blocks(source, path), self._clip_samples)
            yield source, _Window(0.0, total / self._rate_hz, samples)
            return total / self._rate_hz
        end = 0.0
        blocks = self._blocks(source, path)()
        for first, samples in stream_windows(blocks, self._clip_samples, self._hop_samples):
            window = self._window_at(samples, first, 0.0)
            end = window.end_seconds
            yield source, window
        return end

    def _blocks(self, source: Input, path: Path) -> Callable[[], Iterator[Waveform]]:
        def blocks() -> Iterator[Waveform]:
            for block in read_blocks(path, self._rate_hz):
                self._on_read(source, len(block) / self._rate_hz)
                yield block

        return blocks

    def _window_at(self, samples: Waveform, first: int, offset_seconds: float) -> _Window:
        start, end = first / self._rate_hz, (first + len(samples)) / self._rate_hz
        return _Window(offset_seconds + start, offset_seconds + end, samples)

    def _segment(self, source: Input, start_seconds: float, end_seconds: float) -> Waveform:
        """A segment of a file. A short file is decoded once for consecutive segments."""
        whole = self._whole_file(source)
        if whole is not None:
            return extract_segment(whole, start_seconds, end_seconds)
        return read_segment(
            self._blocks(source, Path(source.location)), self._rate_hz, start_seconds, end_seconds
        )

    def _whole_file(self, source: Input) -> Decoded | None:
        """The decoded file, or None when it is too long for memory."""
        if self._last_file is None or self._last_file[0] != source.location:
            self._last_file = (source.location, self._decode_whole(source))
        decoded = self._last_file[1]
        if isinstance(decoded, AudioError):
            raise decoded
        return decoded

    def _decode_whole(self, source: Input) -> Decoded | AudioError | None:
        limits = FILE_LIMITS if is_remote(source.location) else IN_MEMORY_LIMITS
        try:
            blob = _read_bytes(source, limits)
            return None if blob is None else decode(blob, self._rate_hz, limits)
        except AudioError as error:
            is_long = error.code in ("too_long", "too_large") and limits is IN_MEMORY_LIMITS
            return None if is_long else error


def _read_bytes(source: Input, limits: AudioLimits = IN_MEMORY_LIMITS) -> bytes | None:
    """The bytes of an input, or None when there are more than ``limits`` allow."""
    if source.location == STANDARD_INPUT:
        blob = sys.stdin.buffer.read(limits.max_bytes + 1)
        return blob if len(blob) <= limits.max_bytes else None
    if is_remote(source.location):
        return fetch_bytes(source.location, limits.max_bytes)
    return read_file(source.location, limits)
