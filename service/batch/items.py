"""Cuts the audio of inputs into windows, or finds its events."""

from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np

from earful.data.audio.decode import AudioError, Waveform
from earful.data.audio.stream_reader import ReadableBlocks, loudest_window, stream_windows
from earful.models.bundle.event_options import BACKGROUND_LABELS, EventOptions
from earful.service.batch.input_reader import Blocks, InputReader, OnRead
from earful.service.batch.inputs import Input
from earful.service.batch.rows import ResultRow, utf8_name
from earful.service.classifier import (
    MAX_FILE_CLIPS,
    WINDOW_HOP_FRACTION,
    Classifier,
    InferenceError,
)

if TYPE_CHECKING:
    from earful.service.events import Event

Mode = Literal["file", "events", "windows"]


@dataclass(frozen=True)
class ClassifyOptions:
    """How a recording becomes rows.

    mode              ``file``: one row (its loudest clip); ``events``: one row per event;
                      ``windows``: one row per window. None: events for a recording longer than
                      ``MAX_FILE_CLIPS`` clips without an expected label, one row for others
    hop_seconds       distance between windows; a quarter of a clip when None
    min_score         leave out windows whose best score is lower (0 when None), and events (the
                      model's rejection threshold when None); a multi-label model also leaves out
                      each label below it
    label_min_scores  the same for events of single labels
    background        labels that are no event, compared without case
    top_k             number of labels with their scores in a row
    """

    mode: Mode | None = None
    hop_seconds: float | None = None
    min_score: float | None = None
    label_min_scores: tuple[tuple[str, float], ...] = ()
    background: tuple[str, ...] = BACKGROUND_LABELS
    top_k: int = 1

    def for_events(self) -> EventOptions:
        return EventOptions(
            min_score=self.min_score,
            label_min_scores=dict(self.label_min_scores),
            background=self.background,
        )


@dataclass(frozen=True, slots=True)
class InputEnd:
    """The end of an input: its length in seconds, or its problem as ``code: message``.

    A problem may appear late in a file. The rows that the input has given so far are then invalid,
    unless ``keeps_rows``: events before the problem are complete.
    """

    source: Input
    seconds: float = 0.0
    problem: str = ""
    keeps_rows: bool = False

    def error_row(self) -> ResultRow:
        """The row of an input with a problem."""
        name, problem = utf8_name(self.source.location), utf8_name(self.problem)
        return ResultRow(name, error=problem, expected=self.source.expected)


@dataclass(frozen=True, slots=True)
class AudioWindow:
    """A window of an input: its times in seconds, and its samples (samples,)."""

    start: float
    end: float
    clip: Waveform


# A window or an event of an input, or its end.
Item: TypeAlias = "tuple[Input, AudioWindow | Event] | InputEnd"


class ItemReader:
    """Reads inputs, and cuts them into windows or finds their events."""

    def __init__(self, classifier: Classifier, options: ClassifyOptions, on_read: OnRead) -> None:
        config = classifier.metadata.features
        self._classifier, self._options, self._on_read = classifier, options, on_read
        self._rate_hz, self._clip_samples = config.sample_rate_hz, config.clip_samples
        hop_seconds = options.hop_seconds or config.clip_seconds * WINDOW_HOP_FRACTION
        self._hop_samples = max(1, round(hop_seconds * self._rate_hz))
        self._max_file_samples = int(MAX_FILE_CLIPS * self._clip_samples)
        self._inputs = InputReader(self._rate_hz, on_read)

    def items(self, inputs: Iterable[Input]) -> Iterator[Item]:
        """The windows or events of each input in order, followed by its end."""
        for source in inputs:
            self._on_read(source, 0.0)
            if source.problem:
                yield InputEnd(source, problem=source.problem)
                continue
            try:
                end = yield from self._read(source)
            except AudioError as error:
                end = InputEnd(source, problem=_problem(error))
            except InferenceError as error:
                end = InputEnd(source, problem=f"inference_failed: {error}")
            yield end

    def _read(self, source: Input) -> Generator[Item, None, InputEnd]:
        mode = self._options.mode or ("file" if source.expected else None)
        with self._inputs.open(source, damaged=mode in (None, "events")) as opened:
            mode, audio = (mode, opened) if mode else self._mode_by_length(opened)
            if mode == "events":
                return (yield from self._events(source, audio))
            read = self._file if mode == "file" else self._windows
            return InputEnd(source, (yield from read(source, audio)) / self._rate_hz)

    def _mode_by_length(self, audio: Waveform | Blocks) -> tuple[Mode, Waveform | Blocks]:
        """``events`` for long audio, ``file`` for short one, and the audio for one pass."""
        if isinstance(audio, np.ndarray):
            return ("events" if len(audio) > self._max_file_samples else "file"), audio
        blocks, first, n_samples = audio(), list[Waveform](), 0
        for block in blocks:
            first.append(block)
            n_samples += len(block)
            if n_samples > self._max_file_samples:
                return "events", lambda: chain(first, blocks)
        return "file", np.concatenate(first)

    def _events(self, source: Input, audio: Waveform | Blocks) -> Generator[Item, None, InputEnd]:
        """Yield the events of an input, also of one that ends with an error."""
        from earful.service.events import detect_events  # short recordings are not searched

        blocks = ReadableBlocks([audio] if isinstance(audio, np.ndarray) else audio())
        offset = source.start_seconds or 0.0
        for event in detect_events(self._classifier, blocks, self._options.for_events()):
            yield source, replace(event, start=offset + event.start, end=offset + event.end)
        seconds, error = blocks.n_samples / self._rate_hz, blocks.error
        if error is None:
            return InputEnd(source, seconds)
        # A segment that is not in the recording is a mistake in the list, and none of it is right.
        return InputEnd(source, seconds, _problem(error), keeps_rows=error.code != "bad_segment")

    def _file(self, source: Input, audio: Waveform | Blocks) -> Generator[Item, None, int]:
        """Yield the loudest clip of an input, with the times of all of it; return its samples."""
        size, offset = self._clip_samples, source.start_seconds or 0.0
        if isinstance(audio, np.ndarray):
            total = len(audio)
            _, start = self._classifier.best_cut(audio)
            clip = audio[start : start + size]
            if len(clip) < total:
                clip = clip.copy()  # a view would keep the whole waveform in memory
        else:
            _, clip, total = loudest_window(audio, size)
        yield source, AudioWindow(offset, offset + total / self._rate_hz, clip)
        return total

    def _windows(self, source: Input, audio: Waveform | Blocks) -> Generator[Item, None, int]:
        """Yield all windows of an input; return its samples."""
        end, offset, rate = 0, source.start_seconds or 0.0, self._rate_hz
        blocks = [audio] if isinstance(audio, np.ndarray) else audio()
        for first, clip in stream_windows(blocks, self._clip_samples, self._hop_samples):
            end = first + len(clip)
            yield source, AudioWindow(offset + first / rate, offset + end / rate, clip)
        return end


def _problem(error: AudioError) -> str:
    return f"{error.code}: {error}"
