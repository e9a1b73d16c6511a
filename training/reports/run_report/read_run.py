"""Read a run folder: settings, learning curves and metrics, finished or not."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from earful.data.dataset.dataset import Dataset, DatasetError, open_dataset
from earful.data.errors import EarfulError
from earful.training.config.train_config import TrainConfig, default_config
from earful.training.runs.metrics_file import RunMetrics, read_run_metrics
from earful.training.runs.run_dataset import read_run_dataset
from earful.training.trainer.checkpoint import (
    BEST_CHECKPOINT,
    LAST_CHECKPOINT,
    Checkpoint,
    EpochRecord,
    load_checkpoint,
)


class RunReportError(EarfulError):
    """A run that cannot be reported on."""


@dataclass(frozen=True)
class Setting:
    """A setting of the run and the default of its network."""

    name: str
    value: str
    default: str

    @property
    def changed(self) -> bool:
        return self.value != self.default


@dataclass(frozen=True)
class TrainingRun:
    """A run: its best epoch, all epochs so far, and metrics.json once it is finished."""

    folder: Path
    best: Checkpoint
    history: tuple[EpochRecord, ...]
    metrics: RunMetrics | None

    @property
    def best_epoch(self) -> int:
        return min(self.history, key=lambda record: record.val_loss).epoch

    def settings(self) -> list[Setting]:
        config = self.best.config
        default = default_config(config.model)
        return [
            Setting(
                field.name,
                _format_value(getattr(config, field.name)),
                _format_value(getattr(default, field.name)),
            )
            for field in dataclasses.fields(TrainConfig)
        ]


def is_run(path: Path) -> bool:
    """Whether a folder is a run of ``earful train``."""
    return path.is_dir() and any(
        (path / name).is_file() for name in (BEST_CHECKPOINT, LAST_CHECKPOINT)
    )


def read_run(folder: Path) -> TrainingRun:
    """Read a run folder.

    Raises:
        TrainingError: a checkpoint is missing or damaged, or metrics.json is.
    """
    best = load_checkpoint(folder / BEST_CHECKPOINT)
    last = folder / LAST_CHECKPOINT
    history = load_checkpoint(last).history if last.is_file() else best.history
    metrics = read_run_metrics(folder)
    if metrics is not None and metrics.epochs != len(history):
        metrics = None  # the run was continued since and is not finished again
    return TrainingRun(folder, best, history, metrics)


def find_dataset(run: TrainingRun, requested: Path | None) -> tuple[Dataset | None, str]:
    """The dataset the run was trained on, or None and the reason why it is not available.

    Raises:
        DatasetError: ``requested`` holds no dataset.
        RunReportError: ``requested`` holds a different dataset.
    """
    recorded = run.metrics.dataset if run.metrics else ""
    folder = requested or (Path(recorded) if recorded else read_run_dataset(run.folder))
    if folder is None:
        return None, "give the dataset of `earful train` with --dataset DIR"
    try:
        dataset = open_dataset(folder)
    except DatasetError as error:
        if requested is not None:
            raise
        return None, f"{error}; if it has moved, give its folder with --dataset"
    difference = _describe_difference(run.best.dataset_hash, dataset)
    if not difference:
        return dataset, ""
    if requested is not None:
        raise RunReportError(
            f"{folder} is not the dataset {run.folder} was trained on: {difference}"
        )
    return None, f"{folder} is not the dataset the run was trained on: {difference}"


def _describe_difference(trained_on: str, dataset: Dataset) -> str:
    own_hash = trained_on.partition("+")[0]  # the hashes of auxiliary data follow
    if own_hash == dataset.content_hash:
        return ""
    if own_hash.startswith(f"{dataset.content_hash}/"):
        return "it has the same clips, but the run used a different split"
    return (
        f"content hash {own_hash[:12]} was used, found {dataset.content_hash[:12]} "
        "(prepared from other clips, labels, splits or features)"
    )


def _format_value(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
