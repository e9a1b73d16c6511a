"""One frozen configuration of a training run, stored in its checkpoints."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from data.errors import EarshotError
from data.features import FEATURE_KINDS, FeatureKind
from models.zoo import entry

DeviceChoice = Literal["auto", "cpu", "cuda"]


class TrainingError(EarshotError):
    """A run that cannot start or go on; the message says what is kept and what to do."""


@dataclass(frozen=True)
class TrainConfig:
    """What decides the weights, beside the dataset. Times are counted in epochs.

    Adam with a constant rate and categorical cross-entropy is the classic recipe. Training stops
    ``patience`` epochs after the last improvement of the validation loss.

    Raises:
        TrainingError: a value that cannot be trained with.
    """

    model: str = "cnn"
    features: FeatureKind = "mfcc"
    epochs: int = 120
    batch_size: int = 64
    learning_rate: float = 1e-3
    patience: int = 20
    seed: int = 42
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        entry(self.model)
        if self.features not in FEATURE_KINDS:
            raise TrainingError(
                f"features are {' or '.join(FEATURE_KINDS)}, found {self.features!r}"
            )
        for name in ("epochs", "batch_size", "learning_rate", "patience"):
            if not getattr(self, name) > 0:
                raise TrainingError(f"{name} must be above 0, found {getattr(self, name)}")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def differences(self, other: "TrainConfig") -> list[str]:
        """What differs from another run, but for the number of epochs, which may be raised."""
        mine, theirs = self.to_dict(), other.to_dict()
        return [
            f"{name} {theirs[name]!r} -> {mine[name]!r}"
            for name in mine
            if name != "epochs" and mine[name] != theirs[name]
        ]
