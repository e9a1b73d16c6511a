"""One frozen configuration of a training run, stored in its checkpoints.

Each setting is declared once: the command's help, the checks and ``--set`` read it here. This
module is loaded without torch, as the help is.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from earful.data.errors import EarfulError
from earful.data.features.kinds import FeatureKind, PreparedKind
from earful.training.config.network_defaults import NETWORK_DEFAULTS
from earful.training.config.setting import (
    CLIPS,
    FRACTION,
    HARDWARE,
    LOSS,
    NOT_NEGATIVE,
    OPTIMISATION,
    POSITIVE,
    Bounds,
    setting,
    settings_of,
)

if TYPE_CHECKING:
    from earful.data.augmentation.pipeline import AugmentConfig


class TrainingError(EarfulError):
    """A run cannot start or continue; the message says what is kept and what to do."""


# An epoch's seed is a multiple of it and must fit into 63 bits.
MAX_SEED = 2**32 - 1
_SEEDS = Bounds(f"from 0 to {MAX_SEED}", lambda seed: 0 <= seed <= MAX_SEED)
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


@dataclass(frozen=True)
class TrainConfig:
    """Everything but the data that determines the trained weights.

    The defaults are a classic setup: Adam at a constant rate, categorical cross-entropy, features
    as prepared, and early stopping ``patience`` epochs after the last improvement of the validation
    loss. ``default_config`` has the defaults of each network.

    Raises:
        TrainingError: an invalid value or combination.
    """

    model: str = "cnn"
    features: FeatureKind = setting(
        "mfcc", "Input of the network.", shown="what suits it", offered=PreparedKind
    )
    epochs: int = setting(150, "Maximal number of epochs.", POSITIVE)
    batch_size: int = setting(64, "Clips per step.", POSITIVE)
    patience: int = setting(
        20, "Stop after this many epochs without a lower validation loss.", POSITIVE
    )
    seed: int = setting(42, "Seed of weights, order, augmentation and dropout.", _SEEDS)

    # ``data.augmentation.pipeline``. Strong is for noisy places and needs more epochs; mild is for
    # clips of many real speakers.
    augment: bool = setting(False, "Augment training clips, new in each epoch.", panel=CLIPS)
    augment_strength: AugmentStrength = setting(
        "default",
        "How augmented clips differ: mild (no codec, clipping, cut edges or change of tempo), "
        "default, strong (louder background).",
        panel=CLIPS,
    )
    # arXiv:1710.09412
    mixup: float = setting(
        0.0, "Probability that a clip is mixed with another.", FRACTION, panel=CLIPS
    )
    # Outlier exposure, arXiv:1812.04606: the background has no label.
    noise_only: float = setting(
        0.0, "With --negatives: share of clips that are background alone.", FRACTION, panel=CLIPS
    )
    oversample: int = setting(
        1,
        "Times that an epoch reads the clips of DATASET; extra ones once.",
        POSITIVE,
        panel=CLIPS,
    )

    # ``training.trainer.optimizers`` and ``training.trainer.lr_schedules``.
    optimizer: Optimizer = setting("adam", "Optimizer.", panel=OPTIMISATION)
    learning_rate: float = setting(
        1e-3, "Peak learning rate; lr-find suggests one.", POSITIVE, panel=OPTIMISATION
    )
    momentum: float = setting(
        0.9, "Momentum of momentum and nesterov.", FRACTION, panel=OPTIMISATION
    )
    schedule: Schedule = setting("constant", "Learning rate schedule.", panel=OPTIMISATION)
    schedule_epochs: int = setting(
        10,
        "step: epochs between drops; plateau: epochs without a lower validation loss.",
        POSITIVE,
        panel=OPTIMISATION,
    )
    schedule_factor: float = setting(
        0.5, "Factor of the learning rate at a drop.", POSITIVE, FRACTION, panel=OPTIMISATION
    )
    # Times the sum of absolute weights, added to the loss.
    l1: float = setting(0.0, "L1 regularisation of the weights.", FRACTION, panel=OPTIMISATION)
    # Decoupled: arXiv:1711.05101. Otherwise times half the sum of squared weights, added to the
    # loss.
    weight_decay: float = setting(
        0.0,
        "L2 regularisation of the weights; with adamw decoupled.",
        FRACTION,
        panel=OPTIMISATION,
        flags=("--weight-decay", "--l2"),
    )
    grad_clip: float | None = setting(
        None, "Clip gradients to this norm.", POSITIVE, panel=OPTIMISATION
    )
    ema_decay: float = setting(
        0.0,
        "Decay per step of the moving average of the weights that is exported; 0 for none.",
        FRACTION,
        panel=OPTIMISATION,
    )

    # Focal loss: arXiv:1708.02002; with a gamma of 0 it is cross-entropy.
    loss: Loss = setting(
        "cross-entropy",
        "Loss; bce learns each label by itself.",
        panel=LOSS,
        shown="cross-entropy; bce for multi-label clips",
    )
    focal_gamma: float = setting(
        2.0, "How much focal loss down-weights easy examples.", NOT_NEGATIVE, panel=LOSS
    )
    label_smoothing: float = setting(
        0.0, "Share of the target spread over all labels.", FRACTION, panel=LOSS
    )
    balance: Balance = setting(
        "none", "Weight rare labels more in the loss, or sample them more often.", panel=LOSS
    )

    # Weights, front end and losses are float32 in any case.
    precision: Precision = setting(
        "float32", "Precision of matrix products and convolutions.", panel=HARDWARE
    )
    compile: bool = setting(
        False, "Compile the network: a minute before the first step.", panel=HARDWARE
    )
    # Each with its own random numbers and batch statistics, so that the result does not depend on
    # the number of processes.
    shards: int = setting(
        1,
        "Parts of a batch, computed one after the other or by one process each.",
        POSITIVE,
        panel=HARDWARE,
        shown="one per process",
    )
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        from earful.models.networks.zoo import zoo_entry

        zoo_entry(self.model)
        for name, declared in settings_of(TrainConfig).items():
            value, choices = getattr(self, name), get_args(declared.value_type)
            if choices and value not in choices:
                raise TrainingError(f"{name} is one of {', '.join(choices)}, found {value!r}")
            for bounds in () if value is None else declared.bounds:
                if not bounds.include(value):
                    raise TrainingError(f"{name} must be {bounds.text}, found {value}")
        for name in ("ema_decay", "label_smoothing"):
            if getattr(self, name) == 1:
                raise TrainingError(f"{name} must be below 1: with 1 nothing is learned")
        self._check_combinations()

    def _check_combinations(self) -> None:
        """Refuse settings that exclude each other."""
        from earful.models.networks.zoo import input_kinds

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

    def augment_config(self) -> "AugmentConfig":
        """The augmentation of training clips."""
        from earful.data.augmentation.pipeline import (
            MILD_AUGMENTATION,
            NO_AUGMENTATION,
            STRONG_AUGMENTATION,
            AugmentConfig,
        )

        by_strength: dict[AugmentStrength, AugmentConfig] = {
            "mild": MILD_AUGMENTATION,
            "default": AugmentConfig(),
            "strong": STRONG_AUGMENTATION,
        }
        chosen = by_strength[self.augment_strength] if self.augment else NO_AUGMENTATION
        return dataclasses.replace(chosen, p_mixup=self.mixup)

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


def default_config(model: str) -> TrainConfig:
    """The default settings of a network.

    Raises:
        EarfulError: an unknown network; the message lists the known ones.
    """
    return TrainConfig(model=model, **NETWORK_DEFAULTS.get(model, {}))
