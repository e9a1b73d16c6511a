"""Checkpoints of a run: written aside and renamed, read with ``weights_only=True``."""

import dataclasses
import io
import pickle
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch

from earful.data.atomic_write import staged_file
from earful.data.features.config import FeatureConfig, FeatureKind
from earful.models.bundle.decision import ScoreKind
from earful.models.layers.normalise import NormalisedNetwork
from earful.models.networks.zoo import build_network
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.metrics.calibration import Calibration, score_kind_for_loss
from earful.training.trainer.layer_health import LayerHealth

# Files of a run that several rooms read.
LAST_CHECKPOINT, BEST_CHECKPOINT = "last.pt", "best.pt"
METRICS_FILENAME, CONFUSION_FILENAME = "metrics.json", "confusion.png"
# In 3 the epochs of augmented runs were judged on clean clips, which cannot be gone on with.
SCHEMA_VERSION, READABLE_VERSIONS = 4, (3, 4)


@dataclass(frozen=True)
class EpochRecord:
    """One row of the learning curves; losses as ``training.trainer.objectives`` has them.

    ``val_loss`` is that of the validation clips in the conditions of training, augmented where
    training is; ``val_accuracy`` that of the clips as they are. Accuracies are fractions, and None
    of a network that names no labels. ``learning_rate`` is that of the last step, ``layers`` what
    ``training.trainer.layer_health`` found after it.
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
    """A run after some epoch: everything needed to go on, and everything needed to export.

    ``weights`` are those that are measured and released; ``learning`` those that the optimizer
    moves where ``weights`` are their average, else empty. ``calibration`` is that of ``weights`` in
    a classifier's best checkpoint, else None. ``schema_version`` is that of the file it is from.
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
    schema_version: int = SCHEMA_VERSION

    @property
    def score_kind(self) -> ScoreKind:
        """What the network's logits become."""
        return score_kind_for_loss(self.config.loss)

    @property
    def best(self) -> EpochRecord:
        """The epoch of the lowest validation loss so far."""
        return min(self.history, key=lambda record: record.val_loss)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint; the one that was there stays until the new one is whole."""
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
    with staged_file(path) as staging:
        torch.save(values, staging)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint to the CPU.

    Raises:
        TrainingError: no checkpoint there, or one that is damaged or of another version.
    """
    if not path.is_file():
        raise TrainingError(
            f"{path.parent} holds no finished run ({path.name} is missing); "
            f"start one with `earful train DATASET --out {path.parent}`"
        )
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TrainingError(f"cannot read the checkpoint {path}: {error.strerror}") from error
    return read_checkpoint_bytes(content, str(path))


def read_checkpoint_bytes(content: bytes, location: str) -> Checkpoint:
    """A checkpoint from its bytes; ``place`` is where they are from.

    Raises:
        TrainingError: it is damaged or of another version.
    """
    try:
        values = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        if values["schema_version"] not in READABLE_VERSIONS:
            raise ValueError(f"schema {values['schema_version']}, not {SCHEMA_VERSION}")
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
            schema_version=values["schema_version"],
        )
    except (
        EOFError,
        RuntimeError,
        KeyError,
        TypeError,
        ValueError,
        pickle.UnpicklingError,
    ) as error:
        reason = (str(error).splitlines() or ["it ends early"])[0]
        raise TrainingError(f"the checkpoint {location} is damaged: {reason}; train again") from error


def rebuild_network(checkpoint: Checkpoint) -> NormalisedNetwork:
    """The network of a checkpoint, in evaluation mode."""
    kind: FeatureKind = checkpoint.config.features
    bins = checkpoint.features.bins(kind)
    network = build_network(
        checkpoint.config.model, bins, checkpoint.features.frames, len(checkpoint.labels),
        checkpoint.config.options,
    )  # fmt: skip
    normalised = NormalisedNetwork(network, torch.zeros(bins), torch.ones(bins))
    normalised.load_state_dict(checkpoint.weights)
    return normalised.eval()
