"""The inference path: audio to windows to the ONNX Runtime session to predictions.

The only place that runs a released model: the command line, HTTP, batches and the final evaluation
use it.
"""

import threading
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
from earful.models.bundle.decision import (
    DECISION_THRESHOLD,
    UNKNOWN_LABEL,
    predicted_label_mask,
)
from earful.models.bundle.device import Device
from earful.models.bundle.map_session import MapSession
from earful.models.bundle.metadata import ModelMetadata
from earful.models.bundle.output_checks import find_embedding_problem, find_score_problem
from earful.models.bundle.runtime import ORT_ERRORS, error_line
from earful.models.bundle.session_calls import run_session

# Neighbouring windows of a long recording overlap by three quarters, so that every sound shorter
# than three quarters of a clip lies entirely in one of them.
WINDOW_HOP_FRACTION = 0.25
# A recording of at most this many clips has one answer; a longer one is split into events.
MAX_FILE_CLIPS = 1.5
# Windows per session.run: more are not faster on a CPU and need more memory.
MAX_BATCH = 32


class InferenceError(EarfulError):
    """A model whose graph fails on its input."""


@dataclass(frozen=True)
class Window:
    """The prediction for one window of a recording; ``scores`` (labels,) are probabilities.

    A multi-label model joins all predicted labels in ``label``, ``dog|rain``; ``score`` is the
    lowest of their scores.
    """

    start_seconds: float
    end_seconds: float
    label: str
    score: float
    scores: NDArray[np.float32]


@dataclass(frozen=True)
class Prediction:
    """The prediction for a recording: that of its ``best`` window, in which its energy is centred.

    A recording of at most one clip has that window only; a longer one is covered by ``windows`` a
    quarter of a clip apart, in order of time.
    """

    seconds: float
    labels: tuple[str, ...]
    best: Window
    windows: tuple[Window, ...]

    def __repr__(self) -> str:
        return (
            f"Prediction(label={self.label!r}, score={self.score:.4f}, seconds={self.seconds:.3f}, "
            f"windows={len(self.windows)})"
        )

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
        """The highest score of all labels, which is compared with the rejection threshold."""
        return float(self.best.scores.max())

    def ranked(self, window: Window | None = None) -> list[tuple[str, float]]:
        """All labels with their scores in ``window`` (None: the best window), best first."""
        scores = (window or self.best).scores
        return rank(self.labels, scores)


def rank(labels: Sequence[str], scores: NDArray[np.float32]) -> list[tuple[str, float]]:
    """All labels with their scores (labels,), best first."""
    return sorted(zip(labels, scores.tolist(), strict=True), key=lambda pair: -pair[1])


class Classifier:
    """A released model, ready to classify. Safe to call from several threads.

    With ``reject``, clips that score below the model's rejection threshold get the label
    ``unknown`` (noise, silence, out-of-vocabulary words); their scores stay the same. A model with
    sigmoid scores predicts every label that scores 0.5 or more (``models.bundle.decision``).
    """

    def __init__(self, bundle: Bundle, *, reject: bool = False) -> None:
        self.bundle = bundle
        self._min_score = bundle.metadata.rejection_threshold if reject else 0.0
        self._is_multi_label = bundle.metadata.score_kind == "sigmoid"
        self._config = bundle.metadata.features
        self._hop_samples = max(1, round(self._config.clip_samples * WINDOW_HOP_FRACTION))
        self._map_session: MapSession | None = None
        self._map_lock = threading.Lock()

    @classmethod
    def open(
        cls,
        model: Path,
        device: Device = "cpu",
        *,
        reject: bool = False,
        sha256: str | None = None,
    ) -> Self:
        """Open a model file; with ``sha256`` only the one that has this hash.

        Raises:
            ModelError: the file is missing or damaged, or does not reproduce its golden example.
        """
        return cls(open_bundle(model, device, sha256=sha256), reject=reject)

    @property
    def metadata(self) -> ModelMetadata:
        return self.bundle.metadata

    @property
    def labels(self) -> tuple[str, ...]:
        return self.bundle.metadata.labels

    @property
    def is_multi_label(self) -> bool:
        """Whether a prediction may have several labels."""
        return self._is_multi_label

    @property
    def sample_rate_hz(self) -> int:
        return self._config.sample_rate_hz

    @property
    def clip_samples(self) -> int:
        """Length in samples of the network's input."""
        return self._config.clip_samples

    def decode(self, blob: bytes, limits: AudioLimits = FILE_LIMITS) -> Decoded:
        """Decode the bytes of one file to mono at the model's rate.

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
        """Predictions in the order of the waveforms, which are read batch by batch."""
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
        """First samples of the windows of a waveform; the last one starts the best window."""
        size = self._config.clip_samples
        if len(waveform) <= size:
            return [0]
        return [
            *window_starts(len(waveform), size, self._hop_samples),
            loudest_start(waveform, size),
        ]

    def run_windows(self, windows: Sequence[tuple[Waveform, int]]) -> NDArray[np.float32]:
        """Probabilities (windows, labels) of windows, each a waveform and its first sample."""
        size = self._config.clip_samples
        return self.run(pad_to_clips([w[start : start + size] for w, start in windows], size))

    def run(self, clips: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (batch, labels) of clips (batch, clip_samples).

        Raises:
            InferenceError: the graph cannot compute them, or they are no probabilities.
            ModelTimeout: it takes too long.
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
        """Embeddings (windows, dim) of windows, each a waveform and its first sample."""
        size = self._config.clip_samples
        clips = pad_to_clips([w[start : start + size] for w, start in windows], size)
        return self.embed(clips)[1]

    def activation_maps(self, clips: NDArray[np.float32]) -> NDArray[np.float32] | None:
        """Class activation maps (batch, labels, rows, columns) of clips (batch, clip_samples).

        None if the model file holds none. The first call opens a session for them.

        Raises:
            ModelError: the map in the metadata does not fit the graph.
        """
        bundle, info = self.bundle, self.metadata.activation_map
        if info is None:
            return None
        with self._map_lock:
            if self._map_session is None:
                device: Device = "cpu" if bundle.provider.startswith("CPU") else "cuda"
                self._map_session = MapSession(bundle.content, info, device, bundle.path)
        return self._map_session.run(clips)

    def _run(self, outputs: list[str], clips: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """The only call of the session (that of the maps is another one); checks what it gives."""
        path = self.bundle.path
        try:
            values = run_session(self.bundle.session, outputs, {"waveform": clips}, path)
        except ORT_ERRORS as error:
            raise InferenceError(f"{path} failed on a batch: {error_line(error)}") from error
        problem = find_score_problem(values[0], (len(clips), len(self.labels)), self.metadata)
        if problem is None and len(values) > 1:
            problem = find_embedding_problem(values[1], len(clips))
        if problem is not None:
            raise InferenceError(f"{path} failed on a batch: {problem}")
        return values

    def make_prediction(
        self, waveform: Waveform, starts: Sequence[int], scores: NDArray[np.float32]
    ) -> Prediction:
        """The prediction for a waveform, given the scores (windows, labels) of its windows."""
        windows = [self._window(waveform, *pair) for pair in zip(starts, scores, strict=True)]
        best = windows[-1]
        covering = windows[:-1] if len(windows) > 1 else windows
        return Prediction(
            seconds=len(waveform) / self.sample_rate_hz,
            labels=self.labels,
            best=best,
            windows=tuple(covering),
        )

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
        """The predicted label and its score for scores (labels,), with rejection if it is on.

        A multi-label model predicts all labels that score ``decision_threshold`` or more.
        """
        top = int(scores.argmax())
        best = float(scores[top])
        if not scores[top] >= self._min_score:  # NaN is rejected too
            return UNKNOWN_LABEL, best
        if not self._is_multi_label:
            return self.labels[top], best
        labels, label_scores = zip(*self.predicted_labels(scores, decision_threshold), strict=True)
        return SEPARATOR.join(labels), min(label_scores)

    def predicted_labels(
        self, scores: NDArray[np.float32], decision_threshold: float = DECISION_THRESHOLD
    ) -> list[tuple[str, float]]:
        """The predicted labels of scores (labels,) with their scores, in the model's order."""
        kind = self.metadata.score_kind
        [mask] = predicted_label_mask(scores[None], kind, decision_threshold)
        return [(self.labels[i], float(scores[i])) for i in np.flatnonzero(mask)]

    def _window(self, waveform: Waveform, start: int, scores: NDArray[np.float32]) -> Window:
        end = min(start + self._config.clip_samples, len(waveform))
        rate = self.sample_rate_hz
        label, score = self.decide(scores)
        return Window(
            start_seconds=start / rate,
            end_seconds=end / rate,
            label=label,
            score=score,
            scores=scores,
        )


def classify_or_error(
    classifier: Classifier, waveforms: Iterable[Waveform | AudioError]
) -> Iterator[Prediction | AudioError]:
    """A prediction for each waveform; an error stays in its place and affects no other file."""
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
