"""Checkpoints of a run: written atomically, read with ``weights_only=True``."""

import dataclasses
import io
import pickle
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from earful.data.atomic_write import staged_file
from earful.data.errors import EarfulError, command, did_you_mean_path
from earful.data.features.config import FeatureConfig
from earful.data.features.encoder_config import feature_shape
from earful.data.labels.wrong_path import describe_own_folder, describe_wrong_path
from earful.models.bundle.decision import ScoreKind
from earful.models.layers.normalise import NormalisedNetwork
from earful.models.networks.zoo import build_network
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.metrics.calibration import Calibration, score_kind_for_loss
from earful.training.trainer.layer_health import LayerHealth

# Names of files in a run folder.
LAST_CHECKPOINT, BEST_CHECKPOINT = "last.pt", "best.pt"
METRICS_FILENAME, CONFUSION_FILENAME = "metrics.json", "confusion.png"
SCHEMA_VERSION = 5


@dataclass(frozen=True)
class EpochRecord:
    """One row of the learning curves; losses are those of ``training.trainer.objectives``.

    ``val_loss`` is on augmented validation clips where training augments, ``val_accuracy`` on clean
    ones. Accuracies are fractions, None for networks without labels. ``learning_rate`` is that of
    the last step; ``layers`` are measured by ``training.trainer.layer_health`` after it.
    """

    epoch: int
    loss: float
    accuracy: float | None
    val_loss: float
    val_accuracy: float | None
    seconds: float
    learning_rate: float
    layers: tuple[LayerHealth, ...] = ()

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        layers = tuple(LayerHealth(**layer) for layer in values["layers"])
        return cls(**{**values, "layers": layers})


@dataclass(frozen=True)
class Checkpoint:
    """The state of a run after an epoch: enough to resume and to export.

    ``weights`` are evaluated and released. Where they are a moving average, ``raw_weights`` are
    those that the optimizer updates; otherwise it is empty. ``calibration`` belongs to ``weights``
    in a classifier's best checkpoint, and is None elsewhere.
    """

    config: TrainConfig
    features: FeatureConfig
    labels: tuple[str, ...]
    dataset_hash: str
    weights: dict[str, torch.Tensor]
    raw_weights: dict[str, torch.Tensor]
    optimizer: dict[str, Any]
    history: tuple[EpochRecord, ...]
    calibration: Calibration | None = None

    @property
    def score_kind(self) -> ScoreKind:
        """Whether scores are softmax or sigmoid of the logits."""
        return score_kind_for_loss(self.config.loss)

    @property
    def best(self) -> EpochRecord:
        """The epoch of the lowest validation loss so far."""
        return min(self.history, key=lambda record: record.val_loss)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint atomically; an earlier one stays until the new one is complete.

    Raises:
        OutputError: it cannot be written.
    """
    values = {
        "schema_version": SCHEMA_VERSION,
        "config": checkpoint.config.to_dict(),
        "features": checkpoint.features.to_dict(),
        "labels": list(checkpoint.labels),
        "dataset_hash": checkpoint.dataset_hash,
        "weights": checkpoint.weights,
        "raw_weights": checkpoint.raw_weights,
        "optimizer": checkpoint.optimizer,
        "history": [dataclasses.asdict(record) for record in checkpoint.history],
        "calibration": checkpoint.calibration and checkpoint.calibration.to_dict(),
    }
    # To a buffer first: on a full disk torch.save raises a RuntimeError about its own archive.
    content = io.BytesIO()
    torch.save(values, content)
    with staged_file(path) as staging:
        staging.write_bytes(content.getbuffer())


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint to the CPU.

    Raises:
        TrainingError: it is missing, damaged, or has another schema version.
    """
    if not path.is_file():
        raise _no_checkpoint(path)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrainingError(f"cannot read the checkpoint {path}: {error.strerror}") from error
    return read_checkpoint_bytes(content, str(path))


def _no_checkpoint(path: Path) -> TrainingError:
    run = path.parent
    found_instead = describe_wrong_path(run) if run.is_file() else describe_own_folder(run)
    if found_instead and not (run / LAST_CHECKPOINT).is_file():
        return TrainingError(found_instead)
    is_taken = run.is_file() or (run.is_dir() and any(run.iterdir()))
    advice = command("train", "DATASET", "--out", "RUN" if is_taken else run)
    return TrainingError(
        f"{run} holds no finished run{did_you_mean_path(run)}: {path.name} is missing; give the "
        f"folder of a run, or start one: {advice}"
    )


def read_checkpoint_bytes(content: bytes, location: str) -> Checkpoint:
    """Read a checkpoint from its bytes; ``location`` names it in errors.

    Raises:
        TrainingError: it is damaged, or has another schema version.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickles that are no checkpoint
            values = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        version = dict(values).get("schema_version")
        if version == SCHEMA_VERSION:
            return _from_dict(values)
    except _DAMAGED as error:
        raise TrainingError(
            f"{location} is damaged, or no checkpoint of `earful train`; {_RETRAIN}"
        ) from error
    found = "no schema version" if version is None else f"schema version {version!r}"
    raise TrainingError(
        f"the checkpoint {location} has {found} and this version of Earful reads only "
        f"{SCHEMA_VERSION}; {_RETRAIN}"
    )


# What torch and its unpickler raise for bytes of something else, tried with random bytes.
_DAMAGED = (
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
    EarfulError,
    pickle.UnpicklingError,
    struct.error,
)
_RETRAIN = "train again into another folder: `earful train DATASET --out RUN`"


def _from_dict(values: dict[str, Any]) -> Checkpoint:
    return Checkpoint(
        config=TrainConfig(**values["config"]),
        features=FeatureConfig.from_dict(values["features"]),
        labels=tuple(values["labels"]),
        dataset_hash=values["dataset_hash"],
        weights=values["weights"],
        raw_weights=values["raw_weights"],
        optimizer=values["optimizer"],
        history=tuple(EpochRecord.from_dict(record) for record in values["history"]),
        calibration=values["calibration"] and Calibration(**values["calibration"]),
    )


def rebuild_network(checkpoint: Checkpoint) -> NormalisedNetwork:
    """The network of a checkpoint, in evaluation mode.

    Raises:
        TrainingError: its weights do not fit its network.
    """
    config = checkpoint.config
    bins, frames = feature_shape(checkpoint.features, config.features)
    network = build_network(config.model, bins, frames, len(checkpoint.labels), config.options)
    try:
        mean = torch.zeros_like(checkpoint.weights["mean"])
        normalised = NormalisedNetwork(network, mean, torch.ones_like(mean))
        normalised.load_state_dict(checkpoint.weights)
    except (KeyError, RuntimeError) as error:  # other names or shapes
        raise TrainingError(
            f"the checkpoint is damaged: its weights do not fit its network; {_RETRAIN}"
        ) from error
    return normalised.eval()
