"""Cross-validation: accuracy on speakers, or folds, that a network was not trained on."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from earful.data.atomic_write import write_json
from earful.data.dataset.dataset import Dataset
from earful.data.labels.folds import Fold, column_folds, speaker_folds
from earful.models.bundle.device import TrainingDevice
from earful.models.networks.zoo import require_classifier
from earful.training.config.train_config import TrainConfig
from earful.training.loaders.auxiliary_data import NO_AUXILIARY_DATA, AuxiliaryData
from earful.training.metrics.classification import ClassificationMetrics, wilson_interval
from earful.training.runs.metrics_file import RunMetrics
from earful.training.runs.progress import TrainingProgress
from earful.training.runs.train_run import train_run

RESULT_FILENAME = "crossval.json"
# One speaker a fold, the folds of the dataset, or a number of groups of speakers.
FoldChoice = Literal["speaker", "column"] | int


@dataclass(frozen=True)
class FoldResult:
    """Accuracy on the held-out clips of one fold, with its 95 % interval (Wilson)."""

    name: str
    clips: int
    accuracy: float
    accuracy_ci95: tuple[float, float]


@dataclass(frozen=True)
class CrossValidation:
    """All folds; ``accuracy_ci95`` is the Wilson interval of all clips pooled."""

    folds: tuple[FoldResult, ...]
    accuracy_ci95: tuple[float, float]

    @property
    def mean(self) -> float:
        return float(np.mean([fold.accuracy for fold in self.folds]))

    @property
    def std(self) -> float:
        """Standard deviation of the folds' accuracies, as papers print it behind the mean."""
        return float(np.std([fold.accuracy for fold in self.folds]))

    @property
    def minimum(self) -> FoldResult:
        return min(self.folds, key=lambda fold: fold.accuracy)

    def to_dict(self) -> dict[str, Any]:
        return {
            "mean": self.mean,
            "std": self.std,
            "minimum": self.minimum.accuracy,
            "accuracy_ci95": list(self.accuracy_ci95),
            "folds": [vars(fold) for fold in self.folds],
        }

    def text(self) -> str:
        """One line per fold, then mean, minimum and interval."""
        low, high = (100 * bound for bound in self.accuracy_ci95)
        lines = [
            f"{f.name}: {100 * f.accuracy:.2f} % of {f.clips} "
            f"({100 * f.accuracy_ci95[0]:.1f} to {100 * f.accuracy_ci95[1]:.1f})"
            for f in self.folds
        ]
        lines.append(
            f"mean {100 * self.mean:.2f} % (standard deviation {100 * self.std:.2f}), minimum "
            f"{100 * self.minimum.accuracy:.2f} % ({self.minimum.name}), 95 % interval of all "
            f"clips {low:.1f} to {high:.1f}"
        )
        return "\n".join(lines)


def cross_validate(
    dataset: Dataset,
    out: Path,
    config: TrainConfig,
    *,
    folds: FoldChoice = "speaker",
    auxiliary: AuxiliaryData = NO_AUXILIARY_DATA,
    device: TrainingDevice = "auto",
    on_fold: Callable[[str, int, int], TrainingProgress] = lambda name, n, m: TrainingProgress(),
) -> CrossValidation:
    """Train and test every fold, each in its own folder of ``out``; finished epochs are reused.

    Auxiliary data is used for training in every fold and never for testing. ``on_fold`` is called
    with (fold name, number, number of folds) and returns the fold's progress.

    Raises:
        EarfulError: the network is not a classifier.
        SplitError: the speakers cannot be divided into folds, or a clip has no fold.
        TrainingError: a fold cannot be trained, or ``out`` holds runs with other settings.
    """
    require_classifier(config.model)
    built = _build_folds(dataset, folds)
    split_mode = "fold" if folds == "column" else "crossval"
    results: list[FoldResult] = []
    for number, fold in enumerate(built, 1):
        metrics = train_run(
            dataset.split_again(fold.splits, fold.name, split_mode),
            out / f"fold{number}",
            config,
            auxiliary=auxiliary,
            device=device,
            resume=True,
            progress=on_fold(fold.name, number, len(built)),
        )
        test = cast("RunMetrics", metrics).test_of_classifier  # there is one process
        results.append(_fold_result(fold.name, test))
    n_correct = sum(round(result.accuracy * result.clips) for result in results)
    interval = wilson_interval(n_correct, sum(result.clips for result in results))
    cross_validation = CrossValidation(tuple(results), interval)
    write_json(out / RESULT_FILENAME, cross_validation.to_dict())
    return cross_validation


def _build_folds(dataset: Dataset, folds: FoldChoice) -> list[Fold]:
    clips = dataset.clips
    labels, recordings = clips["label"].tolist(), clips["sha256"].tolist()
    if folds == "column":
        locations = clips["filename"].tolist()
        return column_folds(labels, clips["fold"].tolist(), locations, recordings)
    n_folds = None if folds == "speaker" else int(folds)
    return speaker_folds(labels, clips["speaker"].tolist(), n_folds, recordings)


def _fold_result(name: str, test: ClassificationMetrics) -> FoldResult:
    return FoldResult(
        name=name,
        clips=test.clips,
        accuracy=test.accuracy,
        accuracy_ci95=test.accuracy_ci95,
    )
