"""Finds the events of one recording of a job, block by block."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import AudioError, Waveform
from earful.data.audio.stream_reader import declared_seconds, read_blocks
from earful.service.classifier import Classifier
from earful.service.core.errors import to_json
from earful.service.events import Event, detect_events
from earful.service.jobs.records import FileOutcome

# A longer recording has events and no label of its own, as in `earful classify`.
MAX_LABEL_CLIPS = 1.5
# ``on_progress`` is called at least this often.
PROGRESS_SECONDS = 0.5
_SCORE_DIGITS = 6


# Scores (windows, labels) of windows, which come later.
SubmitWindows = Callable[[Sequence[tuple[Waveform, int]]], "Future[NDArray[np.float32]]"]


def recording_seconds(path: Path) -> float | None:
    """Length in seconds by the header; None if that does not say, 0 if the file is not audio."""
    try:
        return declared_seconds(path)
    except AudioError:  # reported when the file is run
        return 0.0


class Recording:
    """One pass over a recording; ``seconds_done`` and ``outcome`` tell how far it has come.

    ``on_progress`` is called every ``PROGRESS_SECONDS`` at least. What it raises ends the pass.
    """

    def __init__(
        self,
        path: Path,
        classifier: Classifier,
        score_windows: SubmitWindows,
        wait_for_gap: Callable[[], None],
        max_seconds: float,
        on_progress: Callable[[], None],
    ) -> None:
        self._path, self._classifier = path, classifier
        self._score_windows, self._on_progress = score_windows, on_progress
        self._wait_for_gap = wait_for_gap
        self._max_samples = int(max_seconds * classifier.sample_rate_hz)
        self._max_label_samples = int(MAX_LABEL_CLIPS * classifier.clip_samples)
        self._first: list[Waveform] = []
        self._n_samples = 0
        self._error: AudioError | None = None

    @property
    def seconds_done(self) -> float:
        return self._n_samples / self._classifier.sample_rate_hz

    def events(self) -> Iterator[Event]:
        """The events in order, also those before an error, which ``outcome`` tells."""
        return detect_events(self._classifier, self._blocks(), score_windows=self._score)

    def outcome(self) -> FileOutcome:
        """How the recording ended, when ``events`` is exhausted."""
        if self._error is not None:
            code, message = self._error.code, str(self._error)
            return FileOutcome(self.seconds_done or None, error_code=code, error_message=message)
        if self._n_samples > self._max_label_samples:
            return FileOutcome(self.seconds_done)
        waveform = np.concatenate(self._first)
        starts = self._classifier.starts(waveform)
        scores = self._score([(waveform, start) for start in starts])
        prediction = self._classifier.make_prediction(waveform, starts, scores)
        return FileOutcome(
            self.seconds_done, prediction.label, round(prediction.score, _SCORE_DIGITS)
        )

    def _blocks(self) -> Iterator[Waveform]:
        """Blocks (samples,) up to an error, so short that requests can be answered in between."""
        size = self._classifier.clip_samples // 2
        try:
            self._check_length(recording_seconds(self._path) or 0.0)
            for block in read_blocks(self._path, self._classifier.sample_rate_hz):
                for first in range(0, len(block), size):
                    piece = block[first : first + size]
                    self._count(piece)
                    self._wait_for_gap()
                    yield piece
                self._on_progress()
        except AudioError as error:
            self._error = error

    def _count(self, piece: Waveform) -> None:
        if self._n_samples <= self._max_label_samples:
            self._first.append(piece.copy())
        else:
            self._first.clear()
        self._n_samples += len(piece)
        self._check_length(self.seconds_done)

    def _check_length(self, seconds: float) -> None:
        rate_hz = self._classifier.sample_rate_hz
        if seconds * rate_hz > self._max_samples:
            max_seconds = self._max_samples / rate_hz
            raise AudioError("too_long", f"longer than {max_seconds:g} s, the limit of jobs")

    def _score(self, windows: Sequence[tuple[Waveform, int]]) -> NDArray[np.float32]:
        """Scores (windows, labels), which a loaded service may take seconds for."""
        self._on_progress()
        scores = self._score_windows(windows)
        while True:
            try:
                return scores.result(PROGRESS_SECONDS)
            except TimeoutError:
                self._on_progress()


def event_json(event: Event) -> str:
    """An event of the responses."""
    return to_json(
        {
            "start": event.start,
            "end": event.end,
            "label": event.label,
            "score": round(event.score, _SCORE_DIGITS),
        }
    )
