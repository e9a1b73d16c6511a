"""Reads a recording block by block on a thread: its label, its events, its windows."""

import logging
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import AudioError, Waveform
from earful.data.audio.stream_reader import LoudestWindow, ReadableBlocks, stream_windows
from earful.data.labels.multilabel import SEPARATOR
from earful.models.bundle.event_options import default_min_score, is_background
from earful.service.classifier import (
    MAX_FILE_CLIPS,
    WINDOW_HOP_FRACTION,
    Classifier,
    InferenceError,
    Prediction,
    ScoreWindows,
    Window,
    fill_batches,
)
from earful.service.core.errors import RequestError
from earful.service.core.request_log import log
from earful.service.events import Event, detect_events
from earful.service.inference.background_windows import BackgroundWindows
from earful.service.inference.job_queue import InferenceOutcome, inference_failed_error
from earful.service.inference.recording import Recording


@dataclass(frozen=True)
class RecordingOutcome:
    """A prediction with events, or an error with the events before it.

    ``events`` is None for a recording of at most ``MAX_FILE_CLIPS``, which is not searched.
    """

    outcome: InferenceOutcome
    events: tuple[Event, ...] | None


class Cancelled(Exception):  # noqa: N818 - not an error
    """Nobody waits for the recording any more."""


class Analysis:
    """Classifies one recording, on a thread."""

    def __init__(
        self,
        recording: Recording,
        classifier: Classifier,
        background: BackgroundWindows,
        cancelled: threading.Event,
    ) -> None:
        self._recording, self._classifier, self._cancelled = recording, classifier, cancelled
        self._run_windows = partial(background.run, classifier, self._check)

    def outcome(self, windows: bool) -> RecordingOutcome:
        """The outcome of the recording; its prediction has all windows only with ``windows``."""
        try:
            return self._read(windows)
        except AudioError as error:
            return RecordingOutcome(error, None)
        except InferenceError as error:
            log(logging.ERROR, "batch_failed", {"reason": str(error), "files": 1})
        except (Cancelled, RequestError):
            raise
        except Exception as exception:  # noqa: BLE001 - a decoder's bug fails that file only
            log(logging.ERROR, "unexpected_error", {"where": "recording"}, exception)
        return RecordingOutcome(inference_failed_error(), None)

    def _check(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled

    def _read(self, windows: bool) -> RecordingOutcome:
        audio = ReadableBlocks(self._recording.blocks(), self._check)
        max_samples = MAX_FILE_CLIPS * self._classifier.clip_samples
        first = audio.first(max_samples)
        if audio.n_samples > max_samples:
            return self._read_long(audio, chain(first, audio), windows)
        if audio.error is not None:
            raise audio.error
        prediction = short_prediction(
            self._classifier, np.concatenate(first), self._run_windows, windows=windows
        )
        return RecordingOutcome(prediction, None)

    def _read_long(
        self, audio: ReadableBlocks, blocks: Iterable[Waveform], windows: bool
    ) -> RecordingOutcome:
        loudest = LoudestWindow(self._classifier.clip_samples)

        def measured() -> Iterator[Waveform]:
            for block in blocks:
                loudest.feed(block)
                yield block

        events = tuple(detect_events(self._classifier, measured(), score_windows=self._run_windows))
        if audio.error is not None:
            refused = audio.error.code in ("too_long", "too_large")
            return RecordingOutcome(audio.error, None if refused else events)
        start, clip = loudest.finish(self._recording.blocks)
        best = self._window(start, clip, self._run_windows([(clip, 0)])[0])
        prediction = Prediction(
            seconds=audio.n_samples / self._classifier.sample_rate_hz,
            labels=self._classifier.labels,
            best=best,
            windows=tuple(self._all_windows()) if windows else (best,),
        )
        return RecordingOutcome(prediction, events)

    def _all_windows(self) -> Iterator[Window]:
        size = self._classifier.clip_samples
        hop = max(1, round(size * WINDOW_HOP_FRACTION))
        windows = stream_windows(self._recording.blocks(), size, hop)
        with_cuts = (((start, clip), [(clip, 0)]) for start, clip in windows)
        for (start, clip), [scores] in fill_batches(with_cuts, self._run_windows):
            yield self._window(start, clip, scores)

    def _window(self, start: int, clip: Waveform, scores: NDArray[np.float32]) -> Window:
        rate = self._classifier.sample_rate_hz
        label, score = self._classifier.decide(scores)
        return Window(start / rate, (start + len(clip)) / rate, label, score, scores)


def short_prediction(
    classifier: Classifier, waveform: Waveform, score_windows: ScoreWindows, *, windows: bool
) -> Prediction:
    """The prediction of (samples,) up to ``MAX_FILE_CLIPS``, with all windows or only the best."""
    cuts = classifier.cut(waveform, covering=windows)
    return classifier.make_prediction(cuts, list(score_windows(cuts)))


def whole_event(classifier: Classifier, prediction: Prediction) -> tuple[Event, ...]:
    """A short recording as an event, which it is not searched for: from its start to its end.

    Empty if it scores below the model's threshold, or has a label of the background.
    """
    best, min_score = prediction.best, default_min_score(classifier.metadata)
    label, score = best.label, best.score
    if classifier.is_multi_label:
        predicted = classifier.predicted_labels(best.scores, min_score)
        kept = [pair for pair in predicted if not is_background(pair[0])]
        label, score = SEPARATOR.join(n for n, _ in kept), min((s for _, s in kept), default=0.0)
    # With rejection too: above the threshold, the label is the one that scores highest.
    if not label or not score >= min_score or is_background(label):
        return ()
    return (Event(0.0, round(prediction.seconds, 6), label, score, best.scores),)
