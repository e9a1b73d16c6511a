"""One frozen configuration of a training run, stored in its checkpoints."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from earful.data.augmentation.pipeline import STRONG_AUGMENTATION, NO_AUGMENTATION, AugmentConfig
from earful.data.errors import EarfulError
from earful.data.features.config import FEATURE_KINDS, FeatureKind
from earful.models.networks.zoo import zoo_entry


class TrainingError(EarfulError):
    """A run that cannot start or go on; the message says what is kept and what to do."""


# Seeds of epochs are multiples of it and must fit into 63 bits.
MAX_SEED = 2**32 - 1
Optimizer = Literal[
    "sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "lbfgs"
]
Schedule = Literal["constant", "step", "cosine", "one-cycle", "plateau"]
Loss = Literal["cross-entropy", "focal", "bce"]
Balance = Literal["none", "weights", "sampling"]
Precision = Literal["float32", "bfloat16"]
AugmentStrength = Literal["default", "strong"]
# What the number of epochs decides the rates of.
_LENGTH_DEPENDENT_SCHEDULES = ("cosine", "one-cycle")

_CHOICES: dict[str, tuple[str, ...]] = {
    "features": FEATURE_KINDS,
    "augment_strength": get_args(AugmentStrength),
    "optimizer": get_args(Optimizer),
    "schedule": get_args(Schedule),
    "loss": get_args(Loss),
    "balance": get_args(Balance),
    "precision": get_args(Precision),
}
_POSITIVE_FIELDS = (
    "epochs", "batch_size", "oversample", "learning_rate", "patience", "grad_clip",
    "schedule_epochs", "schedule_factor", "shards",
)  # fmt: skip
_FRACTION_FIELDS = (
    "mixup", "noise_only", "label_smoothing", "ema_decay", "momentum", "l1", "weight_decay",
    "schedule_factor",
)  # fmt: skip


@dataclass(frozen=True)
class TrainConfig:
    """What decides the weights, beside the dataset. Times are counted in epochs.

    The defaults are the classic recipe: Adam at a constant rate, categorical cross-entropy,
    features as they were prepared, and a stop ``patience`` epochs after the last improvement of the
    validation loss. ``default_config`` has what suits each network.

    repeats            how often an epoch reads each clip of the dataset, beside once each extra one
    augment            draw new versions of the waveforms each epoch (``data.augmentation.pipeline.Recipe``)
    noise              how loud that makes the background; ``heavy`` is for crowds, and is learnt by
                       longer training only
    noise_only         where there are other words to be answered with no label: the share of clips
                       that is replaced by background alone, which has none either (outlier
                       exposure, arXiv:1812.04606)
    mixup              chance that a clip is mixed with another (arXiv:1710.09412)
    optimizer          see ``training.trainer.optimizers``
    momentum           of the optimizers ``momentum`` and ``nesterov``
    schedule           see ``training.trainer.lr_schedules``
    schedule_epochs    ``step``: how often the rate falls; ``plateau``: after how many epochs
                       without a lower validation loss
    schedule_factor    by what it is multiplied then
    l1                 times the sum of the weights' sizes, added to the loss
    weight_decay       decoupled with ``adamw`` (arXiv:1711.05101); with the others L2: times half
                       the sum of the weights' squares, added to the loss
    loss               ``cross-entropy``; ``focal``, in which clips count less the surer they are
                       right (arXiv:1708.02002); ``bce``: binary cross-entropy of each label by
                       itself, for clips that have several
    focal_gamma        how much less
    balance            of labels of unlike size: ``weights`` counts clips of rare ones more in the
                       loss, ``sampling`` reads them more often
    label_smoothing    share of the target that is spread over all labels
    averaging          decay a step of the average of weights that is measured and released; 0: none
    max_gradient_norm  longer gradients are shortened to this; None: never
    precision          of the network's products; weights, front end and losses are float32
    compile            let ``torch.compile`` fuse the network; pays where a run takes minutes
    shards             parts that a batch is cut into, each with its own random numbers and batch
                       statistics: whoever computes them, so many processes or one, the result is
                       the same

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
    oversample: int = 1
    augment: bool = False
    augment_strength: AugmentStrength = "default"
    noise_only: float = 0.0
    mixup: float = 0.0
    optimizer: Optimizer = "adam"
    momentum: float = 0.9
    schedule: Schedule = "constant"
    schedule_epochs: int = 10
    schedule_factor: float = 0.5
    l1: float = 0.0
    weight_decay: float = 0.0
    loss: Loss = "cross-entropy"
    focal_gamma: float = 2.0
    balance: Balance = "none"
    label_smoothing: float = 0.0
    ema_decay: float = 0.0
    grad_clip: float | None = None
    precision: Precision = "float32"
    compile: bool = False
    shards: int = 1
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        zoo_entry(self.model)
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise TrainingError(
                    f"{name} is one of {', '.join(choices)}, found {getattr(self, name)!r}"
                )
        for name in _POSITIVE_FIELDS:
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise TrainingError(f"{name} must be finite and above 0, found {value}")
        for name in _FRACTION_FIELDS:
            if not 0 <= getattr(self, name) <= 1:
                raise TrainingError(f"{name} must be from 0 to 1, found {getattr(self, name)}")
        if not 0 <= self.seed <= MAX_SEED:
            raise TrainingError(f"seed must be from 0 to {MAX_SEED}, found {self.seed}")
        for name in ("ema_decay", "label_smoothing"):
            if getattr(self, name) == 1:
                raise TrainingError(f"{name} must be below 1: with 1 nothing would be learnt")
        if not 0 <= self.focal_gamma < math.inf:
            raise TrainingError(f"focal_gamma must be 0 or more, found {self.focal_gamma}")
        self._check_combinations()

    def _check_combinations(self) -> None:
        """Refuse settings that do not go with each other."""
        if self.augment_strength != "default" and not self.augment:
            raise TrainingError(
                f"augment_strength {self.augment_strength} is of new versions of clips, and {self.model} trains on clips "
                "as they are; give --augment too (with --set: augment=yes)"
            )
        if self.optimizer in ("momentum", "nesterov") and self.momentum == 0:
            raise TrainingError(f"{self.optimizer} needs a momentum above 0; without one it is sgd")
        if self.shards > self.batch_size:
            raise TrainingError(
                f"a batch of {self.batch_size} clips cannot be cut into {self.shards} shards"
            )

    def augment_config(self) -> AugmentConfig:
        """How training clips are changed."""
        if not self.augment:
            return dataclasses.replace(NO_AUGMENTATION, p_mixup=self.mixup)
        base = STRONG_AUGMENTATION if self.augment_strength == "strong" else AugmentConfig()
        return dataclasses.replace(base, p_mixup=self.mixup)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def differences(self, other: "TrainConfig") -> list[str]:
        """What differs from another run, but for the number of epochs, which may be raised.

        Where the schedule goes by their number it decides the rates, so there they count too.
        """
        mine, theirs = self.to_dict(), other.to_dict()
        ignored = "" if self.schedule in _LENGTH_DEPENDENT_SCHEDULES else "epochs"
        return [
            f"{name} {theirs[name]!r} -> {mine[name]!r}"
            for name in mine
            if name != ignored and mine[name] != theirs[name]
        ]


_CLASSIC = TrainConfig()
_ROBUST = TrainConfig(
    features="log_mel", epochs=40, patience=40, learning_rate=2e-3, augment=True,
    optimizer="adamw", schedule="one-cycle", weight_decay=0.02, label_smoothing=0.05,
    ema_decay=0.998, grad_clip=5.0, noise_only=0.02,
)  # fmt: skip
_FITTED = dataclasses.replace(_CLASSIC, epochs=1, patience=1)
# Epochs: after how many three thousand clips no longer improve it, within five minutes on two cores
# for the classic networks.
_DEFAULTS = {
    "cnn": _CLASSIC,
    "crnn": dataclasses.replace(_CLASSIC, features="log_mel", epochs=30),
    "bcresnet": _ROBUST,
    "tcresnet": _ROBUST,
    "convrnn": dataclasses.replace(_CLASSIC, features="log_mel", epochs=30),
    "mlp": dataclasses.replace(_CLASSIC, epochs=60),
    "majority": _FITTED,
    "logistic": _FITTED,
    "random-forest": _FITTED,
    "svm": _FITTED,
    "gmm-hmm": _FITTED,
    "autoencoder": dataclasses.replace(
        _CLASSIC, features="log_mel", epochs=20, patience=20, batch_size=32, learning_rate=1e-2,
        schedule="one-cycle",
    ),
}  # fmt: skip


# Of optimizers whose steps are of another size than Adam's; the others take the network's own rate.
DEFAULT_LEARNING_RATES: dict[Optimizer, float] = {
    "sgd": 0.05, "momentum": 0.01, "nesterov": 0.01, "adagrad": 0.01, "adadelta": 1.0, "lbfgs": 1.0,
}  # fmt: skip


def default_config(model: str) -> TrainConfig:
    """The settings that suit a network.

    Raises:
        EarfulError: no network of this name; the message lists those there are.
    """
    zoo_entry(model)
    return dataclasses.replace(_DEFAULTS[model], model=model)
