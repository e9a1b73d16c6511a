"""What a run's best epoch says of each clip of one part: the mistakes, how sure, and in noise."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from earful.data.dataset.dataset import Dataset
from earful.data.labels.multilabel import join_labels, normalise_label
from earful.models.bundle.decision import ScoreKind, predicted_label_mask
from earful.models.networks.zoo import zoo_entry
from earful.service.classifier import Classifier
from earful.training.evaluation.confidence import ConfidenceReport, compute_confidence
from earful.training.evaluation.noise_robustness import NoisePoint, LabelledWaveform, measure_noise_robustness
from earful.training.export.export import export
from earful.training.loaders.loader import stored_features
from earful.training.metrics.calibration import to_scores
from earful.training.reports.clip_media import heard
from earful.training.reports.html_clips import Shown, show_waveform
from earful.training.reports.run_report.read_run import Run
from earful.training.runs.run_metrics import measure_reconstruction, measure_split
from earful.training.trainer.checkpoint import rebuild_network
from earful.training.trainer.objectives import predict_logits
from earful.training.trainer.trainer import FitResult

# Of more clips a sample is disturbed: 30 kinds and levels of noise take seconds, not minutes.
NOISE_CLIPS = 300
_SEED = 42


@dataclass(frozen=True)
class Answer:
    """A clip with its labels, true and said, how sure that answer is, and its sound."""

    filename: str
    speaker: str
    label: str
    said: str
    score: float
    shown: Shown


@dataclass(frozen=True)
class Answers:
    """All clips of one part: which labels they hold, which were said, and the calibrated scores.

    ``rows`` is (clips,); ``held``, ``said`` and ``scores`` are (clips, labels).
    """

    split: str
    kind: ScoreKind
    rows: NDArray[np.int64]
    held: NDArray[np.bool_]
    said: NDArray[np.bool_]
    scores: NDArray[np.float64]

    @property
    def right(self) -> NDArray[np.bool_]:
        """Clips (clips,) of which all labels were said and no other."""
        return np.asarray((self.held == self.said).all(axis=1))

    @property
    def sure(self) -> NDArray[np.float64]:
        """How sure each answer (clips,) is as a whole: the smallest score of what was said."""
        return np.asarray(np.where(self.said, self.scores, np.inf).min(axis=1))

    @property
    def accuracy(self) -> float:
        return float(self.right.mean())


@dataclass(frozen=True)
class Noise:
    """Accuracies in noise, and that of the same clips without."""

    points: list[NoisePoint]
    clean: float
    clips: int
    of: int

    @property
    def rows(self) -> list[tuple[str, list[NoisePoint]]]:
        """The points of each kind, as the sweep has them."""
        kinds = dict.fromkeys(point.kind for point in self.points)
        return [(kind, [p for p in self.points if p.kind == kind]) for kind in kinds]


def measured(run: Run, dataset: Dataset) -> dict[str, Any]:
    """Figures of the best epoch so far on the validation part, as metrics.json will have them."""
    result = FitResult(rebuild_network(run.best), run.best, "cpu", 0)
    classifies = zoo_entry(run.best.config.model).task == "classification"
    measure = measure_split if classifies else measure_reconstruction
    return measure(dataset, result, "val").to_dict()


def answers(run: Run, dataset: Dataset, split: str) -> Answers:
    """What the best epoch says of the clips of one part."""
    batches = stored_features(dataset, run.best.config, split, torch.device("cpu"))
    logits, held = predict_logits(rebuild_network(run.best), batches)
    kind, calibration = run.best.score_kind, run.best.calibration
    temperature = calibration.temperature if calibration else 1.0
    scores = np.asarray(to_scores(logits.astype(np.float64), kind, temperature), np.float64)
    return Answers(split, kind, dataset.rows(split), held, predicted_label_mask(scores, kind), scores)


def sureness(found: Answers, threshold: float) -> ConfidenceReport:
    """Reliability and coverage of answers, and what ``threshold`` holds back."""
    return compute_confidence(found.scores, found.held, found.right.tolist(), found.kind, threshold)


def worst(
    found: Answers, dataset: Dataset, clips: int, most_bytes: int
) -> tuple[list[Answer], list[Answer]]:
    """The surest mistakes and the least sure of the other clips, ``clips`` of each.

    Sounds and pictures are put in while they fit into ``most_bytes``, mistakes first.
    """
    right, order = found.right, np.argsort(-found.sure, kind="stable").tolist()
    mistakes = [i for i in order if not right[i]][:clips]
    shown = set(mistakes)
    unsure = [i for i in order[::-1] if i not in shown][:clips]
    player, sure = _Player(dataset, most_bytes), found.sure
    return (
        [_answer(found, dataset, i, sure[i], player) for i in mistakes],
        [_answer(found, dataset, i, sure[i], player) for i in unsure],
    )


def in_noise(run: Run, dataset: Dataset, split: str, progress: Callable[[int, int], None]) -> Noise:
    """The run's exported model in made noise, as ``earful evaluate --noise`` measures it.

    Raises:
        ExportError: the run cannot be exported.
        NoiseError: there is one speaker only, and no babble can be made.
    """
    rows = dataset.rows(split)
    of = len(rows)
    if of > NOISE_CLIPS:
        rows = np.sort(np.random.default_rng(_SEED).choice(rows, NOISE_CLIPS, replace=False))
    waveforms, clips = dataset.array("waveforms"), dataset.clips
    spoken = [
        LabelledWaveform(
            np.array(heard(waveforms, dataset, int(row))), clips["label"].iloc[row],
            clips["speaker"].iloc[row],
        )
        for row in rows
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        classifier = Classifier.open(export(run.folder, Path(folder) / "model.onnx").path)
        told = classifier.classify_stream(clip.waveform for clip in spoken)
        right = [normalise_label(a.label) == s.label for a, s in zip(told, spoken, strict=True)]
        points = measure_noise_robustness(classifier, spoken, progress=progress)
    return Noise(points, float(np.mean(right)), len(rows), of)


class _Player:
    """Sounds and pictures of clips; once the page holds enough, pictures alone, then neither."""

    def __init__(self, dataset: Dataset, most_bytes: int) -> None:
        self._dataset, self._left = dataset, most_bytes
        self._waveforms = dataset.array("waveforms")

    def show(self, row: int) -> Shown:
        sound = heard(self._waveforms, self._dataset, row)
        whole = show_waveform(sound, self._dataset.features.sample_rate_hz)
        silent = replace(whole, audio="", missing="no sound: the page holds enough (--audio-mb)")
        for shown in (whole, silent):
            size = len(shown.audio) + len(shown.picture)
            if size <= self._left:
                self._left -= size
                return shown
        return Shown(missing="no sound and no picture: the page holds enough (--audio-mb)")


def _answer(found: Answers, dataset: Dataset, i: int, sure: float, player: _Player) -> Answer:
    row = int(found.rows[i])
    clip = dataset.clips.iloc[row]
    said = join_labels(dataset.labels[n] for n in np.flatnonzero(found.said[i]))
    return Answer(
        clip["filename"], clip["speaker"], clip["label"], said, float(sure), player.show(row)
    )
