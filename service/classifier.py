"""The inference path: audio to windows to the ONNX Runtime session to predictions.

    decode -> cut -> fill_batches -> predict_windows -> make_prediction

The only place that runs a released model, and that fills its batches: the command line, HTTP,
batches, streams and the evaluation use it.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.decode import (
    FILE_LIMITS,
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
# Items that wait for the batch of the windows before them.
_MAX_PENDING = 1000
T = TypeVar("T")
R = TypeVar("R")
# A window to predict: a waveform (samples,), and the first sample of the window in it.
Cut = tuple[Waveform, int]
# Scores (windows, labels) of windows.
ScoreWindows = Callable[[Sequence[Cut]], NDArray[np.float32]]


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
        for _, prediction in self.classify_items((None, waveform) for waveform in waveforms):
            yield prediction

    def classify_items(self, items: Iterable[tuple[T, Waveform]]) -> Iterator[tuple[T, Prediction]]:
        """Each item with the prediction for its waveform, in order; read batch by batch."""
        cut = ((item, self.cut(waveform)) for item, waveform in items)
        with_cuts = (((item, cuts), cuts) for item, cuts in cut)
        for (item, cuts), scores in fill_batches(with_cuts, self.predict_windows):
            yield item, self.make_prediction(cuts, scores)

    def cut(self, waveform: Waveform, *, covering: bool = True) -> list[Cut]:
        """The windows of a waveform (samples,): those that cover it, then the best one.

        Without ``covering``, and of a waveform of at most one clip, the best one alone.
        """
        size, best = self._config.clip_samples, self.best_cut(waveform)
        if not covering or len(waveform) <= size:
            return [best]
        starts = window_starts(len(waveform), size, self._hop_samples).tolist()
        return [*((waveform, start) for start in starts), best]

    def best_cut(self, waveform: Waveform) -> Cut:
        """The window of a waveform (samples,) in which its energy is centred."""
        size = self._config.clip_samples
        return waveform, loudest_start(waveform, size) if len(waveform) > size else 0

    def predict_windows(self, windows: Sequence[Cut]) -> NDArray[np.float32]:
        """Probabilities (windows, labels) of windows, at most a batch of them.

        Raises:
            InferenceError: as from ``run``.
        """
        return self.run(self._clips(windows))

    def _clips(self, windows: Sequence[Cut]) -> NDArray[np.float32]:
        size = self._config.clip_samples
        return pad_to_clips([w[start : start + size] for w, start in windows], size)

    def run(self, clips: NDArray[np.float32]) -> NDArray[np.float32]:
        """Probabilities (batch, labels) of clips (batch, clip_samples).

        Raises:
            InferenceError: the graph cannot compute them, or they are no probabilities.
            ModelTimeout: it takes too long.
        """
        return self._run(["probabilities"], clips)[0]

    def embed_windows(
        self, windows: Sequence[Cut]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Probabilities (windows, labels) and embeddings (windows, dim) of windows.

        Raises:
            InferenceError: the graph cannot compute them.
        """
        probabilities, embedding = self._run(["probabilities", "embedding"], self._clips(windows))
        return probabilities, embedding

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
        self, cuts: Sequence[Cut], scores: Sequence[NDArray[np.float32]]
    ) -> Prediction:
        """The prediction for a waveform, from the scores (labels,) of each of its windows.

        The last window is the best one, as ``cut`` gives them.
        """
        windows = [self._window(*cut, row) for cut, row in zip(cuts, scores, strict=True)]
        return Prediction(
            seconds=len(cuts[-1][0]) / self.sample_rate_hz,
            labels=self.labels,
            best=windows[-1],
            windows=tuple(windows[:-1] or windows),
        )

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


def fill_batches(
    items: Iterable[tuple[T, Sequence[Cut]]], predict: Callable[[Sequence[Cut]], Iterable[R]]
) -> Iterator[tuple[T, list[R]]]:
    """Each item in order with what ``predict`` gives for its windows, also for none.

    ``predict`` gets at most ``MAX_BATCH`` windows, those of several items together.
    """
    pending: list[tuple[T, int]] = []
    windows: list[Cut] = []
    for item, cuts in items:
        pending.append((item, len(cuts)))
        windows.extend(cuts)
        if len(windows) >= MAX_BATCH or len(pending) >= _MAX_PENDING:
            yield from _predict_pending(pending, windows, predict)
            pending, windows = [], []
    yield from _predict_pending(pending, windows, predict)


def _predict_pending(
    pending: Sequence[tuple[T, int]],
    windows: Sequence[Cut],
    predict: Callable[[Sequence[Cut]], Iterable[R]],
) -> Iterator[tuple[T, list[R]]]:
    """Each item with the answers for its number of windows."""
    starts = range(0, len(windows), MAX_BATCH)
    answers = chain.from_iterable(predict(windows[i : i + MAX_BATCH]) for i in starts)
    for item, n_windows in pending:
        yield item, list(islice(answers, n_windows))
