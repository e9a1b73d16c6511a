"""Finds the events of one recording of a job, block by block."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from earful.data.audio.decode import AudioError, Waveform
from earful.data.audio.stream_reader import ReadableBlocks, header_seconds
from earful.service.classifier import MAX_FILE_CLIPS, Classifier, Prediction, ScoreWindows
from earful.service.core.defaults import SCORE_DIGITS
from earful.service.events import Event, detect_events
from earful.service.inference.recording import Recording
from earful.service.inference.recording_analysis import short_prediction, whole_event
from earful.service.jobs.records import FileOutcome


def recording_seconds(path: Path) -> float | None:
    """Length in seconds by the header; None if that does not say, 0 if the file is not audio."""
    try:
        return header_seconds(path)
    except AudioError:  # reported when the file is run
        return 0.0


class JobRecording:
    """One pass over a recording; ``seconds_done`` and ``outcome`` tell how far it has come.

    ``on_progress`` is called before each block. What it raises ends the pass.
    """

    def __init__(
        self,
        recording: Recording,
        classifier: Classifier,
        score_windows: ScoreWindows,
        on_progress: Callable[[], None],
    ) -> None:
        self._recording, self._classifier = recording, classifier
        self._score_windows = score_windows
        self._audio = ReadableBlocks(self._checked_blocks(), on_progress)
        self._prediction: Prediction | None = None  # of a recording with a label of its own

    @property
    def seconds_done(self) -> float:
        return self._audio.n_samples / self._classifier.sample_rate_hz

    def events(self) -> Iterator[Event]:
        """The events in order, also those before an error, which ``outcome`` tells.

        A recording of up to ``MAX_FILE_CLIPS`` is one event or none, as in an upload.
        """
        classifier, score_windows = self._classifier, self._score_windows
        max_samples = MAX_FILE_CLIPS * classifier.clip_samples
        first = self._audio.first(max_samples)
        if self._audio.n_samples > max_samples:
            blocks = chain(first, self._audio)
            yield from detect_events(classifier, blocks, score_windows=score_windows)
        elif self._audio.error is None:
            waveform = np.concatenate(first)
            self._prediction = short_prediction(classifier, waveform, score_windows, windows=False)
            yield from whole_event(classifier, self._prediction)

    def outcome(self) -> FileOutcome:
        """How the recording ended, when ``events`` is exhausted."""
        if (error := self._audio.error) is not None:
            code, message = error.code, str(error)
            return FileOutcome(self.seconds_done or None, error_code=code, error_message=message)
        if self._prediction is None:
            return FileOutcome(self.seconds_done)
        score = round(self._prediction.score, SCORE_DIGITS)
        return FileOutcome(self.seconds_done, self._prediction.label, score)

    def _checked_blocks(self) -> Iterator[Waveform]:
        self._recording.seconds()  # a header that tells of an error does so at once
        yield from self._recording.blocks()
