"""Search space: the ranges of the searched settings, and the fixed settings."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import BaseTrial

from earful.data.errors import EarfulError
from earful.models.networks.zoo import CLASSIFIER_NETWORKS, FITTED_NETWORKS, zoo_entry
from earful.training.config.overrides import (
    SettingValue,
    apply_overrides,
    parse_pairs,
    parse_settings,
    parse_value,
    setting_type,
    setting_types,
)
from earful.training.config.train_config import TrainConfig

# Settings of the whole search, or without effect on accuracy.
_NOT_SEARCHABLE = (
    "model",
    "epochs",
    "patience",
    "seed",
    "options",
    "precision",
    "compile",
    "shards",
)
_NOT_SETTABLE = ("model", "epochs", "seed", "options")


class TuneError(EarfulError):
    """A search cannot start or continue; the message says what to change."""


@dataclass(frozen=True)
class NumericRange:
    """Numbers from ``low`` to ``high`` inclusive; ``log`` samples them log-uniformly."""

    low: float
    high: float
    log: bool = False
    is_integer: bool = False

    def suggest(self, trial: BaseTrial, name: str) -> SettingValue:
        if self.is_integer:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    @property
    def endpoints(self) -> tuple[SettingValue, ...]:
        return (int(self.low), int(self.high)) if self.is_integer else (self.low, self.high)

    def __str__(self) -> str:
        return f"{self.low:g}:{self.high:g}{':log' if self.log else ''}"


@dataclass(frozen=True)
class Choices:
    """A categorical setting."""

    values: tuple[SettingValue, ...]

    def suggest(self, trial: BaseTrial, name: str) -> SettingValue:
        drawn = trial.suggest_categorical(name, self.values)
        return next(value for value in self.values if value == drawn)

    @property
    def endpoints(self) -> tuple[SettingValue, ...]:
        return self.values

    def __str__(self) -> str:
        return ",".join(map(str, self.values))


@dataclass(frozen=True)
class SearchSpace:
    """Ranges by setting name: fields of ``TrainConfig`` and options of the network."""

    dimensions: dict[str, NumericRange | Choices]

    def suggest(self, trial: BaseTrial) -> dict[str, SettingValue]:
        return round_settings(
            {name: dimension.suggest(trial, name) for name, dimension in self.dimensions.items()}
        )

    def to_dict(self) -> dict[str, str]:
        return {name: str(dimension) for name, dimension in self.dimensions.items()}


def round_settings(settings: Mapping[str, SettingValue]) -> dict[str, SettingValue]:
    """Round floats to four significant digits, so that printed settings reproduce a trial."""
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in settings.items()
    }


# Searched for every network. Learning rates: a decade on each side of the usual value.
_COMMON_DIMENSIONS: dict[str, NumericRange | Choices] = {
    "learning_rate": NumericRange(1e-4, 1e-2, log=True),
    "batch_size": Choices((16, 32, 64, 128)),
    "weight_decay": NumericRange(1e-6, 1e-1, log=True),
    "label_smoothing": NumericRange(0.0, 0.2),
    "optimizer": Choices(("adam", "adamw", "nesterov")),
    "schedule": Choices(("constant", "cosine", "one-cycle")),
}
_DROPOUT_RANGE = NumericRange(0.0, 0.5)
_NETWORK_DIMENSIONS: dict[str, dict[str, NumericRange | Choices]] = {
    "crnn": {"recurrent": Choices(("gru", "lstm")), "hidden": Choices((32, 64, 128))},
    "bcresnet": {"width": Choices((0.5, 1.0, 1.5, 2.0))},
    "tcresnet": {"width": Choices((40, 56, 80))},
    "tcresnet-causal": {"width": Choices((40, 56, 80))},
    "encoder": {"c": NumericRange(1e-4, 1.0, log=True)},
    "encoder-finetuned": {"encoder_rate": NumericRange(0.05, 1.0, log=True)},
}
# Fitted networks with a setting worth a search.
_FITTED = ("encoder",)


def default_space(model: str) -> SearchSpace:
    """The default search space of a network."""
    options = dict(_NETWORK_DIMENSIONS.get(model, {}))
    if model in _FITTED:
        return SearchSpace(options)
    if "dropout" in setting_types(model):
        options["dropout"] = _DROPOUT_RANGE
    return SearchSpace({**_COMMON_DIMENSIONS, **options})


def require_network(model: str) -> None:
    """Check that a model is a network with settings to search.

    Raises:
        TuneError: it is a baseline fitted in one go.
        EarfulError: there is no such model.
    """
    if zoo_entry(model).fitted and model not in _FITTED:
        networks = ", ".join(
            name for name in CLASSIFIER_NETWORKS if name not in FITTED_NETWORKS or name in _FITTED
        )
        raise TuneError(
            f"{model} is a baseline that is fitted in one go, without learning rate or epochs; "
            f"give --model one of {networks}"
        )


def build_space(
    base: TrainConfig, search: Sequence[str], settings: Sequence[str]
) -> tuple[SearchSpace, TrainConfig]:
    """Apply ``search`` and ``settings`` to the default space of a network and to ``base``.

    ``search`` has ``NAME=LOW:HIGH[:log]`` or ``NAME=a,b,c``; ``settings`` has ``NAME=VALUE``.

    Raises:
        TuneError: invalid range, a setting of the whole search, or a name in both.
        EarfulError: unknown name or invalid value.
    """
    pairs = parse_pairs(search, "--search", "NAME=LOW:HIGH[:log] or NAME=a,b,c")
    _reject_shared_flags([name for name, _ in pairs])
    _reject_shared_flags([text.partition("=")[0].strip() for text in settings])
    types = setting_types(base.model, _NOT_SEARCHABLE)
    requested = {name: _parse_dimension(name, text, types) for name, text in pairs}
    fixed = parse_settings(base.model, settings, "--set", _NOT_SETTABLE)
    conflicting = sorted(set(requested) & set(fixed))
    if conflicting:
        raise TuneError(
            f"{', '.join(conflicting)} is both searched and set; give one of --search and --set"
        )
    common = apply_overrides(base, fixed)
    dimensions = {**default_space(base.model).dimensions, **requested}
    space = SearchSpace(
        {name: dimension for name, dimension in dimensions.items() if name not in fixed}
    )
    for name, dimension in space.dimensions.items():
        for value in dimension.endpoints:
            apply_overrides(common, {name: value})
    return space, common


def _reject_shared_flags(names: Sequence[str]) -> None:
    for name in names:
        if name in ("model", "epochs", "seed"):
            raise TuneError(f"{name} is the same for all trials; give it with --{name}")


def _parse_dimension(name: str, text: str, types: dict[str, Any]) -> NumericRange | Choices:
    hint = setting_type(name, types)
    if ":" not in text:
        values = tuple(parse_value(name, part.strip(), hint) for part in text.split(","))
        return Choices(tuple(dict.fromkeys(values)))
    parts = text.split(":")
    if hint not in (int, float) or len(parts) not in (2, 3) or parts[2:] not in ([], ["log"]):
        accepted = "LOW:HIGH, LOW:HIGH:log or a,b,c" if hint in (int, float) else "a,b,c"
        raise TuneError(f"{name} takes {name}={accepted}, found {text!r}")
    low, high = (float(parse_value(name, part, hint)) for part in parts[:2])
    numeric_range = NumericRange(low, high, log=len(parts) == 3, is_integer=hint is int)
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise TuneError(f"{name} needs finite LOW <= HIGH, found {text!r}")
    if numeric_range.log and low <= 0:
        raise TuneError(f"{name} needs LOW above 0 for log, found {text!r}")
    return numeric_range
