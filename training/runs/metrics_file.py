"""metrics.json: the figures of a finished run."""

import dataclasses
import json
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

    __pydantic_config__ = STRICT | {"extra": "ignore"}

    clips: int
    reconstruction_error: float
    explained_variance: float


PartMetrics = ClassificationMetrics | ReconstructionMetrics


def _kind_of_part(values: object) -> str:
    names = values if isinstance(values, dict) else ()
    if "reconstruction_error" in names:
        return "(reconstruction)"
    return "(several labels)" if "hamming_loss" in names else "(one label)"


_Part = Annotated[
    Annotated[ClassificationMetrics, Tag("(one label)")]
    | Annotated[MultiLabelMetrics, Tag("(several labels)")]
    | Annotated[ReconstructionMetrics, Tag("(reconstruction)")],
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

    def __post_init__(self) -> None:
        """Refuse, of a file, parts that no one network has.

        Raises:
            ValueError: they are of different kinds.
        """
        if self.test is not None and type(self.test) is not type(self.validation):
            raise ValueError("test and validation have other fields")

    @property
    def test_or_validation(self) -> PartMetrics:
        """The part that a run is judged by: ``validation`` without test clips."""
        return self.test or self.validation

    @property
    def test_of_classifier(self) -> ClassificationMetrics:
        """``test`` of a classifier on a dataset with test clips, as callers have checked."""
        if not isinstance(self.test, ClassificationMetrics):
            raise AssertionError(f"{self.model} has no accuracy on test clips")
        return self.test

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of the file, with lists as there."""
        values: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return values


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
