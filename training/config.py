"""One frozen configuration of a training run, stored in its checkpoints."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal

from data.errors import EarshotError
from data.features import FEATURE_KINDS, FeatureKind
from models.zoo import entry


class TrainingError(EarshotError):
    """A run that cannot start or go on; the message says what is kept and what to do."""


# Seeds of epochs are multiples of it and must fit into 63 bits.
MAX_SEED = 2**32 - 1
Schedule = Literal["constant", "one-cycle"]


@dataclass(frozen=True)
class TrainConfig:
    """What decides the weights, beside the dataset. Times are counted in epochs.

    The defaults are the classic recipe: Adam at a constant rate, categorical cross-entropy,
    features as they were prepared, and a stop ``patience`` epochs after the last improvement of the
    validation loss. ``default_config`` has what suits each network.

    repeats            how often an epoch reads each clip of the dataset, beside once each extra one
    augment            draw new versions of the waveforms each epoch (``data.augment.Recipe``)
    noise_only         where there are other words to be answered with no label: the share of clips
                       that is replaced by background alone, which has none either (outlier
                       exposure, arXiv:1812.04606)
    mixup              chance that a clip is mixed with another (arXiv:1710.09412)
    schedule           ``one-cycle``: up to ``learning_rate`` over 15 % of the steps, then down by a
                       cosine (arXiv:1708.07120)
    weight_decay       decoupled, as in AdamW (arXiv:1711.05101)
    label_smoothing    share of the target that is spread over all labels
    averaging          decay a step of the average of weights that is measured and released; 0: none
    max_gradient_norm  longer gradients are shortened to this; infinite: never

    Raises:
        TrainingError: a value that cannot be trained with.
    """

    model: str = "cnn"
    features: FeatureKind = "mfcc"
    epochs: int = 150
    batch_size: int = 64
    learning_rate: float = 1e-3
    patience: int = 20
    seed: int = 42
    repeats: int = 1
    augment: bool = False
    noise_only: float = 0.0
    mixup: float = 0.0
    schedule: Schedule = "constant"
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    averaging: float = 0.0
    max_gradient_norm: float = math.inf
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        entry(self.model)
        if self.features not in FEATURE_KINDS:
            raise TrainingError(
                f"features are {' or '.join(FEATURE_KINDS)}, found {self.features!r}"
            )
        for name in (
            "epochs",
            "batch_size",
            "repeats",
            "learning_rate",
            "patience",
            "max_gradient_norm",
        ):
            if not getattr(self, name) > 0:
                raise TrainingError(f"{name} must be above 0, found {getattr(self, name)}")
        if not 0 <= self.seed <= MAX_SEED:
            raise TrainingError(f"seed must be from 0 to {MAX_SEED}, found {self.seed}")
        for name in ("mixup", "noise_only", "label_smoothing", "averaging", "weight_decay"):
            if not 0 <= getattr(self, name) <= 1:
                raise TrainingError(f"{name} must be from 0 to 1, found {getattr(self, name)}")

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def differences(self, other: "TrainConfig") -> list[str]:
        """What differs from another run, but for the number of epochs, which may be raised.

        Under the one-cycle schedule the epochs decide the rates, so there they count too.
        """
        mine, theirs = self.to_dict(), other.to_dict()
        free = "epochs" if self.schedule == "constant" else ""
        return [
            f"{name} {theirs[name]!r} -> {mine[name]!r}"
            for name in mine
            if name != free and mine[name] != theirs[name]
        ]


_CLASSIC = TrainConfig()
_ROBUST = TrainConfig(
    features="log_mel", epochs=40, patience=40, learning_rate=2e-3, augment=True,
    schedule="one-cycle", weight_decay=0.02, label_smoothing=0.05, averaging=0.998,
    max_gradient_norm=5.0, noise_only=0.02,
)  # fmt: skip
# Epochs: after how many three thousand clips no longer improve it, within five minutes on two cores
# for the classic networks.
_DEFAULTS = {
    "cnn": _CLASSIC,
    "crnn": dataclasses.replace(_CLASSIC, features="log_mel", epochs=30),
    "bcresnet": _ROBUST,
    "tcresnet": _ROBUST,
    "autoencoder": dataclasses.replace(
        _CLASSIC, features="log_mel", epochs=20, patience=20, batch_size=32, learning_rate=1e-2,
        schedule="one-cycle",
    ),
}  # fmt: skip


def default_config(model: str) -> TrainConfig:
    """The settings that suit a network.

    Raises:
        EarshotError: no network of this name; the message lists those there are.
    """
    entry(model)
    return dataclasses.replace(_DEFAULTS[model], model=model)
