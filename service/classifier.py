"""The inference path: audio to windows to one session to predictions.

The only place that runs a released model; the command line, HTTP, batches and the final evaluation
all come here.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import (
    FILE_LIMITS,
    AudioError,
    AudioLimits,
    Decoded,
    Waveform,
    decode,
    read_file,
)
from earful.data.audio.windows import loudest_start, pad_to_clips, window_starts
from earful.data.errors import EarfulError
from earful.data.labels.multilabel import SEPARATOR
from earful.models.bundle.bundle import Bundle, open_bundle
from earful.models.bundle.decision import DECISION_THRESHOLD, predicted_label_mask
from earful.models.bundle.device import Device
from earful.models.bundle.metadata import ModelMetadata
from earful.models.bundle.runtime import ORT_ERRORS

# Neighbouring windows of a long recording share three quarters, so that every word shorter than
# three quarters of a clip lies whole inside one of them.
WINDOW_HOP_FRACTION = 0.25
# Windows to one session.run: more are no faster on a CPU and cost memory.
MAX_BATCH = 32
# The label of what scores below the model's rejection threshold, where a caller wants that.
UNKNOWN_LABEL = "unknown"


class InferenceError(EarfulError):
    """A model whose graph fails on its input."""


@dataclass(frozen=True)
class Window:
    """What was heard in one stretch of a recording; ``scores`` (labels,) are probabilities.

    Of a model that says several labels at once ``label`` has them all, ``dog|rain``, and ``score``
    is the smallest of theirs: how sure the whole answer is.
    """

    start_seconds: float
    end_seconds: float
    label: str
    score: float
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """What was heard in a recording: that of its ``best`` window, where its energy is centred.

    A recording of at most one clip has that one window; a longer one is covered by windows a
    quarter of a clip apart, in order of time.
    """

    seconds: float
    labels: tuple[str, ...]
    best: Window
    windows: tuple[Window, ...]

    @property
    def label(self) -> str:
        return self.best.label

    @property
    def score(self) -> float:
        return self.best.score

    @property
    def scores(self) -> dict[str, float]:
        """Each label's score, best first."""
        return dict(self.ranked())

    @property
    def top_score(self) -> float:
        """The best score of all labels, which rejection goes by."""
        return float(self.best.scores.max())

    def ranked(self, window: Window | None = None) -> list[tuple[str, float]]:
        """All labels with their scores in a window (the best one when None), best first."""
        scores = (window or self.best).scores
        return rank(self.labels, scores)


def rank(labels: Sequence[str], scores: NDArray[np.float32]) -> list[tuple[str, float]]:
    """All labels with their scores (labels,), best first."""
    return sorted(zip(labels, scores.tolist(), strict=True), key=lambda pair: -pair[1])


class Classifier:
    """A released model, ready to answer. Safe to call from several threads.

    With ``reject``, what scores below the model's rejection threshold gets the label ``unknown``:
    noise, silence and other words, rather than the least unlikely label. Scores stay as they are.
    A model with sigmoid scores says every label that scores 0.5 or more (``models.bundle.decision``).
    """

    def __init__(self, bundle: Bundle, *, reject: bool = False) -> None:
        self.bundle = bundle
        self._min_score = bundle.metadata.rejection_threshold if reject else 0.0
        self._is_multi_label = bundle.metadata.score_kind == "sigmoid"
        self._config = bundle.metadata.features
        self._hop_samples = max(1, round(self._config.clip_samples * WINDOW_HOP_FRACTION))

    @classmethod
    def open(cls, model: Path, device: Device = "cpu", *, reject: bool = False) -> Self:
        """Open a model file.

        Raises:
            ModelError: the file is missing, damaged or fails its golden example.
        """
        return cls(open_bundle(model, device), reject=reject)

    @property
    def metadata(self) -> ModelMetadata:
        return self.bundle.metadata

    @property
    def labels(self) -> tuple[str, ...]:
        return self.bundle.metadata.labels

    @property
    def is_multi_label(self) -> bool:
        """Whether an answer may have several labels."""
        return self._is_multi_label

    @property
    def sample_rate_hz(self) -> int:
        return self._config.sample_rate_hz

    @property
    def clip_samples(self) -> int:
        """Samples of the clip that the network sees at once."""
        return self._config.clip_samples

    def decode(self, blob: bytes, limits: AudioLimits = FILE_LIMITS) -> Decoded:
        """One file's bytes as the model hears them.

        Raises:
            AudioError: with a stable code.
        """
        return decode(blob, self.sample_rate_hz, limits)

    def classify(self, waveforms: Sequence[Waveform]) -> list[Prediction]:
        """Classify waveforms (samples,) float32 at the model's rate, of any lengths but zero."""
        return list(self.classify_stream(waveforms))

    def classify_file(self, path: Path, limits: AudioLimits = FILE_LIMITS) -> Prediction:
        """Classify one audio file.

        Raises:
            AudioError: with a stable code.
        """
        return self.classify([self.decode(read_file(path, limits), limits).waveform])[0]

    def classify_stream(self, waveforms: Iterable[Waveform]) -> Iterator[Prediction]:
        """Predictions in the order of the waveforms, which are read as the batches fill."""
        pending: list[tuple[Waveform, list[int]]] = []
        n_windows = 0
        for waveform in waveforms:
            starts = self.starts(waveform)
            pending.append((waveform, starts))
            n_windows += len(starts)
            if n_windows >= MAX_BATCH:
                yield from self._classify_pending(pending)
                pending, n_windows = [], 0
        yield from self._classify_pending(pending)

    def starts(self, waveform: Waveform) -> list[int]:
        """First samples of the windows of a waveform; the last of the list is the best one."""
        size = self._config.clip_samples
        if len(waveform) <= size:
            return [0]
        return [
            *window_starts(len(waveform), size, self._hop_samples),
            loudest_start(waveform, size),
        ]

    def run_windows(self, windows: Sequence[tuple[Waveform, int]]) -> NDArray[np.float32]:
        """Probabilities (windows, labels) of stretches of waveforms, each from its first sample."""
        size = self._config.clip_samples
        return self.run(pad_to_clips([w[start : start + size] for w, start in windows], size))

    def run(self, clips: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (batch, labels) of clips (batch, clip_samples).

        Raises:
            InferenceError: the graph cannot compute them.
        """
        return self._run(["probabilities"], clips)[0]

    def embed(self, clips: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities (batch, labels) and embedding (batch, dim) of clips (batch, clip_samples).

        Raises:
            InferenceError: the graph cannot compute them.
        """
        probabilities, embedding = self._run(["probabilities", "embedding"], clips)
        return probabilities, embedding

    def embed_windows(self, windows: Sequence[tuple[Waveform, int]]) -> NDArray[np.float32]:
        """Embeddings (windows, dim) of stretches of waveforms, each from its first sample."""
        size = self._config.clip_samples
        clips = pad_to_clips([w[start : start + size] for w, start in windows], size)
        return self.embed(clips)[1]

    def _run(self, outputs: list[str], clips: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """The session's one call."""
        try:
            values: list[NDArray[np.float32]] = self.bundle.session.run(
                outputs, {"waveform": clips}
            )
        except ORT_ERRORS as error:
            reason = str(error).splitlines()[0][:300]
            raise InferenceError(f"{self.bundle.path} failed on a batch: {reason}") from error
        return values

    def make_prediction(
        self, waveform: Waveform, starts: Sequence[int], scores: NDArray[np.float32]
    ) -> Prediction:
        """What the scores (windows, labels) of the windows at ``starts`` say of the waveform."""
        windows = [self._window(waveform, *pair) for pair in zip(starts, scores, strict=True)]
        best = windows[-1]
        covering = windows[:-1] if len(windows) > 1 else windows
        return Prediction(len(waveform) / self.sample_rate_hz, self.labels, best, tuple(covering))

    def _classify_pending(
        self, pending: Sequence[tuple[Waveform, list[int]]]
    ) -> Iterator[Prediction]:
        windows = [(waveform, start) for waveform, starts in pending for start in starts]
        scores = np.concatenate(
            [
                self.run_windows(windows[i : i + MAX_BATCH])
                for i in range(0, len(windows), MAX_BATCH)
            ]
            or [np.zeros((0, len(self.labels)), np.float32)]
        )
        first = 0
        for waveform, starts in pending:
            yield self.make_prediction(waveform, starts, scores[first : first + len(starts)])
            first += len(starts)

    def decide(
        self, scores: NDArray[np.float32], decision_threshold: float = DECISION_THRESHOLD
    ) -> tuple[str, float]:
        """What scores (labels,) speak for, or ``unknown`` where that is asked for; and its score.

        Of several labels those that score ``said_from`` or more.
        """
        top = int(scores.argmax())
        best = float(scores[top])
        if not scores[top] >= self._min_score:  # NaN is none of the labels either
            return UNKNOWN_LABEL, best
        if not self._is_multi_label:
            return self.labels[top], best
        predicted_labels = self.predicted_labels(scores, decision_threshold)
        return SEPARATOR.join(label for label, _ in predicted_labels), min(
            score for _, score in predicted_labels
        )

    def predicted_labels(
        self, scores: NDArray[np.float32], decision_threshold: float = DECISION_THRESHOLD
    ) -> list[tuple[str, float]]:
        """The labels that scores (labels,) speak for with their scores, in the model's order."""
        positions = np.flatnonzero(
            predicted_label_mask(scores[None], self.bundle.metadata.score_kind, decision_threshold)[
                0
            ]
        )
        return [(self.labels[i], float(scores[i])) for i in positions]

    def _window(self, waveform: Waveform, start: int, scores: NDArray[np.float32]) -> Window:
        end = min(start + self._config.clip_samples, len(waveform))
        rate = self.sample_rate_hz
        label, score = self.decide(scores)
        return Window(start / rate, end / rate, label, score, scores)


def classify_or_error(
    classifier: Classifier, waveforms: Iterable[Waveform | AudioError]
) -> Iterator[Prediction | AudioError]:
    """A prediction for each waveform, and each error in its place: a bad file harms no other."""
    failures: dict[int, AudioError] = {}

    def usable() -> Iterator[Waveform]:
        for position, waveform in enumerate(waveforms):
            if isinstance(waveform, AudioError):
                failures[position] = waveform
            else:
                yield waveform

    position = 0
    for prediction in classifier.classify_stream(usable()):
        while position in failures:
            yield failures.pop(position)
            position += 1
        yield prediction
        position += 1
    while position in failures:
        yield failures.pop(position)
        position += 1
