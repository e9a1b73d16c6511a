"""What a run folder tells of itself: settings, curves and figures, finished or not."""

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from earful.data.dataset.dataset import Dataset, DatasetError, open_dataset
from earful.data.errors import EarfulError
from earful.training.config.train_config import TrainConfig, default_config
from earful.training.trainer.checkpoint import (
    BEST_CHECKPOINT,
    LAST_CHECKPOINT,
    METRICS_FILENAME,
    Checkpoint,
    EpochRecord,
    load_checkpoint,
)

# What metrics.json calls the folder of the dataset that was trained on.
DATASET = "dataset"


class RunReportError(EarfulError):
    """A run that cannot be reported on."""


@dataclass(frozen=True)
class Setting:
    """A setting of the run and what its network has without being told; ``changed`` where other."""

    name: str
    value: str
    default: str

    @property
    def changed(self) -> bool:
        return self.value != self.default


@dataclass(frozen=True)
class Run:
    """A run folder: its best epoch, all epochs so far, and metrics.json once it is finished."""

    folder: Path
    best: Checkpoint
    history: tuple[EpochRecord, ...]
    metrics: dict[str, Any] | None

    @property
    def best_epoch(self) -> int:
        return min(self.history, key=lambda record: record.val_loss).epoch

    def settings(self) -> list[Setting]:
        config = self.best.config
        default = default_config(config.model)
        return [
            Setting(
                field.name,
                _shown(getattr(config, field.name)),
                _shown(getattr(default, field.name)),
            )
            for field in dataclasses.fields(TrainConfig)
        ]


def is_run(path: Path) -> bool:
    """Whether a folder is one that ``earful train`` writes."""
    return path.is_dir() and any((path / name).is_file() for name in (BEST_CHECKPOINT, LAST_CHECKPOINT))


def read_run(folder: Path) -> Run:
    """Read a run folder.

    Raises:
        TrainingError: a checkpoint is missing or damaged.
        RunReportError: metrics.json is damaged.
    """
    best = load_checkpoint(folder / BEST_CHECKPOINT)
    last = folder / LAST_CHECKPOINT
    history = load_checkpoint(last).history if last.is_file() else best.history
    metrics = _metrics(folder / METRICS_FILENAME)
    if metrics is not None and metrics["epochs"] != len(history):
        metrics = None  # the run went on since, and has not come to its end again
    return Run(folder, best, history, metrics)


def find_dataset(run: Run, given: Path | None) -> tuple[Dataset | None, str]:
    """The dataset that the run was trained on, or None and why its clips cannot be shown.

    Raises:
        DatasetError: ``given`` holds no dataset.
        RunReportError: ``given`` holds another one.
    """
    stored = (run.metrics or {}).get(DATASET)
    folder = given or (Path(stored) if stored else None)
    if folder is None:
        return None, "give --dataset DIR (that of `earful train`) to see and hear clips"
    try:
        dataset = open_dataset(folder)
    except DatasetError as error:
        if given is not None:
            raise
        return None, f"{error}; --dataset names it where it has moved"
    difference = _difference(run.best.dataset_hash, dataset)
    if not difference:
        return dataset, ""
    if given is not None:
        raise RunReportError(f"{folder} is not what {run.folder} was trained on: {difference}")
    return None, f"{folder} is not what the run was trained on: {difference}"


def _difference(trained_on: str, dataset: Dataset) -> str:
    own = trained_on.partition("+")[0]  # after it those of the company
    if own == dataset.content_hash:
        return ""
    if own.startswith(f"{dataset.content_hash}/"):
        return "its clips are the same, and they were split in another way for this run"
    return (
        f"content hash {own[:12]} was trained on, {dataset.content_hash[:12]} is there "
        "(prepared again from other clips, labels, splits or features)"
    )


def _metrics(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text("utf-8"))
        if not {"epochs", "validation", "test", "split_mode", "parameters"} <= set(found):
            raise ValueError("keys are missing")
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise RunReportError(
            f"{path} is damaged ({error}); `earful train --resume` writes it again"
        ) from error
    return dict(found)


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{name} {item}" for name, item in value.items()) or "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)
