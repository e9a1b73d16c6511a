"""metrics.json: the figures of a finished run."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import Discriminator, Tag

from earful.data.errors import command, describe_os_error
from earful.data.text.json_input import STRICT, parse_json
from earful.training.config.train_config import TrainingError
from earful.training.metrics.classification import ClassificationMetrics
from earful.training.metrics.multilabel import MultiLabelMetrics
from earful.training.runs.run_dataset import resume_words
from earful.training.trainer.checkpoint import METRICS_FILENAME, EpochRecord


@dataclass(frozen=True)
class ReconstructionMetrics:
    """Metrics of an autoencoder.

    ``reconstruction_error`` is the mean squared error in squared standard deviations of a bin,
    ``explained_variance`` 1 minus that error over the variance between clips.
    """

    __pydantic_config__ = STRICT

    clips: int
    reconstruction_error: float
    explained_variance: float


PartMetrics = ClassificationMetrics | MultiLabelMetrics | ReconstructionMetrics


def _kind_of_part(values: object) -> str:
    if isinstance(values, dict) and "reconstruction_error" in values:
        return "reconstruction"
    several = isinstance(values, dict) and "hamming_loss" in values
    return "multi_label" if several else "classification"


_Part = Annotated[
    Annotated[ClassificationMetrics, Tag("classification")]
    | Annotated[MultiLabelMetrics, Tag("multi_label")]
    | Annotated[ReconstructionMetrics, Tag("reconstruction")],
    Discriminator(_kind_of_part),
]


@dataclass(frozen=True, kw_only=True)
class RunMetrics:
    """The content of metrics.json.

    ``dataset`` is its folder, empty in files of earlier versions; ``test`` is None without test
    clips.
    """

    __pydantic_config__ = STRICT | {"extra": "ignore"}

    model: str
    features: str
    parameters: int
    dataset: str = ""
    split_mode: str
    best_epoch: int
    epochs: int
    training_seconds: float
    device: str
    config: dict[str, Any]
    validation: _Part
    test: _Part | None
    history: tuple[EpochRecord, ...]

    @property
    def classification_test(self) -> ClassificationMetrics:
        """``test`` of a classifier on a dataset with test clips, as callers have checked."""
        if not isinstance(self.test, ClassificationMetrics):
            raise AssertionError(f"{self.model} has no accuracy on test clips")
        return self.test

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


def read_run_metrics(run: Path) -> RunMetrics | None:
    """The metrics of a run; None if it is not finished.

    Raises:
        TrainingError: metrics.json is damaged, or cannot be read.
    """
    path = run / METRICS_FILENAME
    try:
        return parse_json(RunMetrics, path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise TrainingError(f"cannot read {path}: {describe_os_error(error)}") from error
    except ValueError as error:
        raise TrainingError(
            f"{path} is damaged ({error}); write it again: {command(*resume_words(run))}"
        ) from error
