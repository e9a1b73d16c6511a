"""Finds the events of one recording of a job, block by block."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from earful.data.audio.decode import AudioError, Waveform
from earful.data.audio.stream_reader import header_seconds
from earful.service.classifier import MAX_FILE_CLIPS, Classifier
from earful.service.core.errors import to_json
from earful.service.events import Event, ScoreWindows, detect_events
from earful.service.inference.recording import Recording
from earful.service.inference.recording_analysis import short_prediction
from earful.service.jobs.records import FileOutcome

_SCORE_DIGITS = 6


def recording_seconds(path: Path) -> float | None:
    """Length in seconds by the header; None if that does not say, 0 if the file is not audio."""
    try:
        return header_seconds(path)
    except AudioError:  # reported when the file is run
        return 0.0


class JobRecording:
    """One pass over a recording; ``seconds_done`` and ``outcome`` tell how far it has come.

    ``on_progress`` is called after each block. What it raises ends the pass.
    """

    def __init__(
        self,
        recording: Recording,
        classifier: Classifier,
        score_windows: ScoreWindows,
        on_progress: Callable[[], None],
    ) -> None:
        self._recording, self._classifier = recording, classifier
        self._score_windows, self._on_progress = score_windows, on_progress
        self._max_label_samples = int(MAX_FILE_CLIPS * classifier.clip_samples)
        self._first: list[Waveform] = []  # of a recording with a label of its own, all blocks
        self._n_samples = 0
        self._error: AudioError | None = None

    @property
    def seconds_done(self) -> float:
        return self._n_samples / self._classifier.sample_rate_hz

    def events(self) -> Iterator[Event]:
        """The events in order, also those before an error, which ``outcome`` tells."""
        return detect_events(self._classifier, self._blocks(), score_windows=self._score_windows)

    def outcome(self) -> FileOutcome:
        """How the recording ended, when ``events`` is exhausted."""
        if self._error is not None:
            code, message = self._error.code, str(self._error)
            return FileOutcome(self.seconds_done or None, error_code=code, error_message=message)
        if self._n_samples > self._max_label_samples:
            return FileOutcome(self.seconds_done)
        waveform = np.concatenate(self._first)
        prediction = short_prediction(
            self._classifier, waveform, self._score_windows, windows=False
        )
        return FileOutcome(
            self.seconds_done, prediction.label, round(prediction.score, _SCORE_DIGITS)
        )

    def _blocks(self) -> Iterator[Waveform]:
        """Blocks (samples,) up to an error, which is kept."""
        try:
            self._recording.seconds()  # a header that tells of an error does so at once
            for block in self._recording.blocks():
                self._count(block)
                yield block
                self._on_progress()
        except AudioError as error:
            self._error = error

    def _count(self, block: Waveform) -> None:
        self._n_samples += len(block)
        if self._n_samples <= self._max_label_samples:
            self._first.append(block.copy())
        else:
            self._first.clear()


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
