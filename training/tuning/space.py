"""The space of a search: which settings are varied between what, and which are fixed."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.trial import BaseTrial

from earful.data.errors import EarfulError
from earful.models.networks.zoo import CLASSIFIER_NETWORKS, FITTED_NETWORKS, zoo_entry
from earful.training.config.overrides import (
    SettingValue,
    option_types,
    parse_pairs,
    parse_settings,
    parse_value,
    setting_types,
    apply_overrides,
    setting_type,
)
from earful.training.config.train_config import TrainConfig

# Of a search, not of a trial; or without an effect on what is learnt.
_NOT_VARIED = ("model", "epochs", "patience", "seed", "options", "precision", "compile", "shards")
_NOT_FIXED = ("model", "epochs", "seed", "options")


class TuneError(EarfulError):
    """A search that cannot start or go on; the message says what to change."""


@dataclass(frozen=True)
class Range:
    """Numbers from ``low`` to ``high``, both among them; ``log`` draws their logarithm evenly."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def draw(self, trial: BaseTrial, name: str) -> SettingValue:
        if self.whole:
            return trial.suggest_int(name, int(self.low), int(self.high), log=self.log)
        return trial.suggest_float(name, self.low, self.high, log=self.log)

    @property
    def ends(self) -> tuple[SettingValue, ...]:
        return (int(self.low), int(self.high)) if self.whole else (self.low, self.high)

    def __str__(self) -> str:
        return f"{self.low:g}:{self.high:g}{':log' if self.log else ''}"


@dataclass(frozen=True)
class Choices:
    """One of some values."""

    values: tuple[SettingValue, ...]

    def draw(self, trial: BaseTrial, name: str) -> SettingValue:
        drawn = trial.suggest_categorical(name, self.values)
        return next(value for value in self.values if value == drawn)

    @property
    def ends(self) -> tuple[SettingValue, ...]:
        return self.values

    def __str__(self) -> str:
        return ",".join(map(str, self.values))


@dataclass(frozen=True)
class Space:
    """What each trial draws, by the names of ``TrainConfig`` and of the network's options."""

    varied: dict[str, Range | Choices]

    def draw(self, trial: BaseTrial) -> dict[str, SettingValue]:
        return readable({name: found.draw(trial, name) for name, found in self.varied.items()})

    def to_dict(self) -> dict[str, str]:
        return {name: str(found) for name, found in self.varied.items()}


def readable(settings: Mapping[str, SettingValue]) -> dict[str, SettingValue]:
    """Settings with numbers of four digits, as they are trained with, printed and typed again."""
    return {
        name: float(f"{value:.4g}") if isinstance(value, float) else value
        for name, value in settings.items()
    }


# What is worth a search whatever the network. Rates: a decade to each side of what suits most.
_COMMON: dict[str, Range | Choices] = {
    "learning_rate": Range(1e-4, 1e-2, log=True),
    "batch_size": Choices((16, 32, 64, 128)),
    "weight_decay": Range(1e-6, 1e-1, log=True),
    "label_smoothing": Range(0.0, 0.2),
    "optimizer": Choices(("adam", "adamw", "nesterov")),
    "schedule": Choices(("constant", "cosine", "one-cycle")),
}
_DROPOUT = Range(0.0, 0.5)
_OPTIONS: dict[str, dict[str, Range | Choices]] = {
    "crnn": {"recurrent": Choices(("gru", "lstm")), "hidden": Choices((32, 64, 128))},
    "bcresnet": {"width": Choices((0.5, 1.0, 1.5, 2.0))},
    "tcresnet": {"width": Choices((40, 56, 80))},
}


def default_space(model: str) -> Space:
    """The space of a network unless something else is asked for."""
    options = dict(_OPTIONS.get(model, {}))
    if "dropout" in option_types(model):
        options["dropout"] = _DROPOUT
    return Space({**_COMMON, **options})


def require_trained(model: str) -> None:
    """Refuse a model that is not trained in epochs.

    Raises:
        TuneError: it is fitted in one go; the message lists what can be searched.
        EarfulError: there is no such model.
    """
    if zoo_entry(model).fitted:
        has = ", ".join(name for name in CLASSIFIER_NETWORKS if name not in FITTED_NETWORKS)
        raise TuneError(
            f"{model} is a baseline that is fitted in one go: it has no learning rate and no "
            f"epochs to compare trials by; a search is for a network, which is one of {has}"
        )


def chosen_space(
    base: TrainConfig, vary: Sequence[str], fix: Sequence[str]
) -> tuple[Space, TrainConfig]:
    """The space after ``NAME=LOW:HIGH[:log]`` or ``NAME=a,b,c``, and the settings that all trials
    share after ``NAME=VALUE``.

    Raises:
        TuneError: a name that there is not, a value that it cannot have, or a name in both.
        EarfulError: a value that cannot be trained with.
    """
    pairs = parse_pairs(vary, "--vary", "NAME=LOW:HIGH[:log] or NAME=a,b,c")
    _refuse_flags_of_tune([name for name, _ in pairs])
    _refuse_flags_of_tune([text.partition("=")[0].strip() for text in fix])
    types = setting_types(base.model, _NOT_VARIED)
    asked = {name: _read_varied(name, text, types) for name, text in pairs}
    fixed = parse_settings(base.model, fix, "--fix", _NOT_FIXED)
    both = sorted(set(asked) & set(fixed))
    if both:
        raise TuneError(f"{', '.join(both)} is both varied and fixed; give one of --vary and --fix")
    common = apply_overrides(base, fixed)
    varied = {**default_space(base.model).varied, **asked}
    space = Space({name: found for name, found in varied.items() if name not in fixed})
    for name, found in space.varied.items():
        for value in found.ends:
            apply_overrides(common, {name: value})
    return space, common


def _refuse_flags_of_tune(names: Sequence[str]) -> None:
    for name in names:
        if name in ("model", "epochs", "seed"):
            raise TuneError(f"{name} is one for all trials; give it with --{name}")


def _read_varied(name: str, text: str, types: dict[str, Any]) -> Range | Choices:
    hint = setting_type(name, types)
    if ":" not in text:
        values = tuple(parse_value(name, part.strip(), hint) for part in text.split(","))
        return Choices(tuple(dict.fromkeys(values)))
    parts = text.split(":")
    if hint not in (int, float) or len(parts) not in (2, 3) or parts[2:] not in ([], ["log"]):
        accepted = "LOW:HIGH, LOW:HIGH:log or a,b,c" if hint in (int, float) else "a,b,c"
        raise TuneError(f"{name} is varied as {name}={accepted}, found {text!r}")
    low, high = (float(parse_value(name, part, hint)) for part in parts[:2])
    found = Range(low, high, log=len(parts) == 3, whole=hint is int)
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise TuneError(f"{name} needs a low end and a high end above it, found {text!r}")
    if found.log and low <= 0:
        raise TuneError(f"{name} has no logarithm at {low:g}; begin above 0, found {text!r}")
    return found
