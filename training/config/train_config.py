"""One frozen configuration of a training run, stored in its checkpoints."""

import dataclasses
import math
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from earful.data.augmentation.pipeline import (
    MILD_AUGMENTATION,
    NO_AUGMENTATION,
    STRONG_AUGMENTATION,
    AugmentConfig,
)
from earful.data.errors import EarfulError
from earful.data.features.kinds import FEATURE_KINDS, FeatureKind
from earful.models.networks.zoo import input_kinds, zoo_entry


class TrainingError(EarfulError):
    """A run cannot start or continue; the message says what is kept and what to do."""


# An epoch's seed is a multiple of it and must fit into 63 bits.
MAX_SEED = 2**32 - 1
Optimizer = Literal[
    "sgd", "momentum", "nesterov", "adagrad", "adadelta", "rmsprop", "adam", "adamw", "lbfgs"
]
Schedule = Literal["constant", "step", "cosine", "one-cycle", "plateau"]
Loss = Literal["cross-entropy", "focal", "bce"]
Balance = Literal["none", "weights", "sampling"]
Precision = Literal["float32", "bfloat16"]
AugmentStrength = Literal["mild", "default", "strong"]
# Schedules whose learning rates depend on the number of epochs.
LENGTH_DEPENDENT_SCHEDULES = ("cosine", "one-cycle")

_CHOICES: dict[str, tuple[str, ...]] = {
    "features": FEATURE_KINDS,
    "augment_strength": get_args(AugmentStrength),
    "optimizer": get_args(Optimizer),
    "schedule": get_args(Schedule),
    "loss": get_args(Loss),
    "balance": get_args(Balance),
    "precision": get_args(Precision),
}
_AUGMENTATIONS: dict[AugmentStrength, AugmentConfig] = {
    "mild": MILD_AUGMENTATION,
    "default": AugmentConfig(),
    "strong": STRONG_AUGMENTATION,
}
_POSITIVE_FIELDS = (
    "epochs",
    "batch_size",
    "oversample",
    "learning_rate",
    "patience",
    "grad_clip",
    "schedule_epochs",
    "schedule_factor",
    "shards",
)
_FRACTION_FIELDS = (
    "mixup",
    "noise_only",
    "label_smoothing",
    "ema_decay",
    "momentum",
    "l1",
    "weight_decay",
    "schedule_factor",
)


@dataclass(frozen=True)
class TrainConfig:
    """Everything but the data that determines the trained weights.

    The defaults are a classic setup: Adam at a constant rate, categorical cross-entropy, features
    as prepared, and early stopping ``patience`` epochs after the last improvement of the validation
    loss. ``default_config`` has the defaults of each network.

    oversample        times an epoch reads each clip of the dataset; auxiliary clips are read once
    augment           augment the waveforms anew each epoch (``data.augmentation.pipeline``)
    augment_strength  ``strong`` has louder backgrounds, for noisy places; it needs more epochs.
                      ``mild`` has no codec, clipping, cut edges or change of tempo, for clips of
                      many real speakers
    noise_only        with negatives: the share of clips that is replaced by background noise
                      without a label (outlier exposure, arXiv:1812.04606)
    mixup             chance that a clip is mixed with another (arXiv:1710.09412)
    optimizer         see ``training.trainer.optimizers``
    momentum          of the optimizers ``momentum`` and ``nesterov``
    schedule          see ``training.trainer.lr_schedules``
    schedule_epochs   ``step``: epochs between two drops of the learning rate; ``plateau``: epochs
                      without a lower validation loss before a drop
    schedule_factor   factor of the learning rate at each drop
    l1                L1 regularisation: times the sum of absolute weights, added to the loss
    weight_decay      decoupled with ``adamw`` (arXiv:1711.05101); otherwise L2 regularisation:
                      times half the sum of squared weights, added to the loss
    loss              ``cross-entropy``; ``focal``, which down-weights easy examples
                      (arXiv:1708.02002); ``bce``: binary cross-entropy per label, for clips with
                      several labels
    focal_gamma       focusing parameter of ``focal``; 0 is cross-entropy
    balance           for imbalanced labels: ``weights`` weights rare labels higher in the loss,
                      ``sampling`` reads their clips more often
    label_smoothing   share of the target that is spread evenly over all labels
    ema_decay         decay per step of the exponential moving average of the weights, which is
                      evaluated and released; 0: no average
    grad_clip         largest norm of the gradient; None: no clipping
    precision         of the network's matrix products; weights, front end and losses are float32
    compile           fuse the network with ``torch.compile``; pays off for runs of minutes
    shards            shards of a batch, each with its own random numbers and batch statistics, so
                      that the result does not depend on the number of processes

    Raises:
        TrainingError: an invalid value or combination.
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
                raise TrainingError(f"{name} must be below 1: with 1 nothing is learned")
        if not 0 <= self.focal_gamma < math.inf:
            raise TrainingError(f"focal_gamma must be 0 or more, found {self.focal_gamma}")
        self._check_combinations()

    def _check_combinations(self) -> None:
        """Refuse settings that exclude each other."""
        kinds = input_kinds(self.model, self.options)
        if self.features not in kinds:
            raise TrainingError(
                f"{self.model} takes the features {' or '.join(kinds)}, found {self.features!r}; "
                "leave out --features"
            )
        if self.augment_strength != "default" and not self.augment:
            raise TrainingError(
                f"augment_strength {self.augment_strength} has no effect without augmentation, "
                f"which is off for {self.model}; give --augment too (with --set: augment=yes)"
            )
        if self.optimizer in ("momentum", "nesterov") and self.momentum == 0:
            raise TrainingError(
                f"{self.optimizer} needs a momentum above 0; with 0 it is sgd: use --optimizer sgd"
            )
        if self.shards > self.batch_size:
            raise TrainingError(
                f"a batch of {self.batch_size} clips cannot be split into {self.shards} shards; "
                "give fewer --shards or a larger --batch-size"
            )

    def augment_config(self) -> AugmentConfig:
        """The augmentation of training clips."""
        if not self.augment:
            return dataclasses.replace(NO_AUGMENTATION, p_mixup=self.mixup)
        return dataclasses.replace(_AUGMENTATIONS[self.augment_strength], p_mixup=self.mixup)

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    def differences(self, other: "TrainConfig") -> list[str]:
        """Settings that differ from those of an earlier run, as ``NAME OLD -> NEW``.

        The number of epochs may be raised, so it counts only where the schedule depends on it.
        """
        new, old = self.to_dict(), other.to_dict()
        ignored = "" if self.schedule in LENGTH_DEPENDENT_SCHEDULES else "epochs"
        return [
            f"{name} {old[name]!r} -> {new[name]!r}"
            for name in new
            if name != ignored and new[name] != old[name]
        ]


_CLASSIC = TrainConfig()
_ROBUST = TrainConfig(
    features="log_mel",
    epochs=40,
    patience=40,
    learning_rate=2e-3,
    augment=True,
    optimizer="adamw",
    schedule="one-cycle",
    weight_decay=0.02,
    label_smoothing=0.05,
    ema_decay=0.998,
    grad_clip=5.0,
    noise_only=0.02,
)
_FINETUNED = dataclasses.replace(
    _ROBUST,
    model="encoder-finetuned",
    features="encoder",
    epochs=14,
    patience=14,
    learning_rate=4e-3,
    weight_decay=0.01,
    label_smoothing=0.1,
)
_FITTED = dataclasses.replace(_CLASSIC, epochs=1, patience=1)
# Epochs: when the network stops improving on three thousand clips; within five minutes on two cores
# for the classic networks.
_DEFAULTS = {
    "cnn": _CLASSIC,
    "crnn": dataclasses.replace(_CLASSIC, features="log_mel", epochs=30),
    "bcresnet": _ROBUST,
    "tcresnet": _ROBUST,
    "tcresnet-causal": _ROBUST,
    "encoder": dataclasses.replace(_FITTED, model="encoder", features="encoder"),
    "encoder-finetuned": _FINETUNED,
    "convrnn": dataclasses.replace(_CLASSIC, features="log_mel", epochs=30),
    "mlp": dataclasses.replace(_CLASSIC, epochs=60),
    "majority": _FITTED,
    "logistic": _FITTED,
    "random-forest": _FITTED,
    "svm": _FITTED,
    "gmm-hmm": _FITTED,
    "autoencoder": dataclasses.replace(
        _CLASSIC,
        features="log_mel",
        epochs=20,
        patience=20,
        batch_size=32,
        learning_rate=1e-2,
        schedule="one-cycle",
    ),
}


# For optimizers whose step size is not comparable to Adam's; the others use the network's default.
DEFAULT_LEARNING_RATES: dict[Optimizer, float] = {
    "sgd": 0.05,
    "momentum": 0.01,
    "nesterov": 0.01,
    "adagrad": 0.01,
    "adadelta": 1.0,
    "lbfgs": 1.0,
}


def default_config(model: str) -> TrainConfig:
    """The default settings of a network.

    Raises:
        EarfulError: an unknown network; the message lists the known ones.
    """
    zoo_entry(model)
    return dataclasses.replace(_DEFAULTS[model], model=model)
