"""Settings by name and text: fields of ``TrainConfig`` and options of a network."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from earful.models.networks.zoo import check_options, zoo_entry
from earful.training.config.train_config import DEFAULT_LEARNING_RATES, TrainConfig, TrainingError

SettingValue = str | int | float | bool
_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}


def apply_overrides(base: TrainConfig, values: Mapping[str, SettingValue]) -> TrainConfig:
    """The configuration with these settings and options of the network.

    Another optimizer brings its own learning rate, where none is given.

    Raises:
        EarfulError: a value that cannot be trained with, or an option that the network has not.
    """
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    config_values: dict[str, Any] = {name: value for name, value in values.items() if name in fields}
    chosen = config_values.get("optimizer", base.optimizer)
    if chosen != base.optimizer and "learning_rate" not in config_values:
        config_values["learning_rate"] = DEFAULT_LEARNING_RATES.get(chosen, base.learning_rate)
    options = {name: value for name, value in values.items() if name not in fields}
    config = dataclasses.replace(base, **config_values, options={**base.options, **options})
    check_options(config.model, config.options)
    return config


def parse_settings(
    model: str, texts: Sequence[str], flag: str, disallowed: Sequence[str] = ()
) -> dict[str, SettingValue]:
    """``NAME=VALUE`` of settings and options, by the types that they have.

    Raises:
        TrainingError: a name that there is not (or that is ``refused``), or a value that it cannot
            have.
    """
    types = setting_types(model, disallowed)
    return {
        name: parse_value(name, text, setting_type(name, types))
        for name, text in parse_pairs(texts, flag, "NAME=VALUE")
    }


def parse_options(model: str, texts: Sequence[str]) -> dict[str, SettingValue]:
    """``NAME=VALUE`` of a network's own options.

    Raises:
        TrainingError: an option that it has not, or a value that the option cannot have.
    """
    types = option_types(model)
    return {
        name: parse_value(name, text, setting_type(name, types, f"option of {model}"))
        for name, text in parse_pairs(texts, "--option", "NAME=VALUE")
    }


def option_types(model: str) -> dict[str, Any]:
    """The options of a network that a text can give, with their types."""
    return _readable_fields(zoo_entry(model).config)


def setting_types(model: str, disallowed: Sequence[str] = ()) -> dict[str, Any]:
    """All settings that a text can give, with their types."""
    types = {**option_types(model), **_readable_fields(TrainConfig)}
    return {name: type_hint for name, type_hint in types.items() if name not in disallowed}


def setting_type(name: str, types: Mapping[str, Any], kind: str = "setting") -> Any:
    """The type of a setting.

    Raises:
        TrainingError: there is no such setting; the message lists those there are.
    """
    if name not in types:
        known_names = ", ".join(sorted(types)) or "none"
        raise TrainingError(f"no {kind} is called {name!r}; there are {known_names}")
    return types[name]


def parse_pairs(texts: Sequence[str], flag: str, expected_form: str) -> list[tuple[str, str]]:
    """``NAME=...`` apart, with underscores in the names.

    Raises:
        TrainingError: a text of another form, or a name that is there twice.
    """
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value.strip():
            raise TrainingError(f"{flag} is {expected_form}, found {text!r}")
        pairs.append((name.strip().replace("-", "_"), value.strip()))
    names = [name for name, _ in pairs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise TrainingError(f"{flag} names {', '.join(repeated)} twice")
    return pairs


def parse_value(name: str, text: str, type_hint: Any) -> SettingValue:
    """A value of a type.

    Raises:
        TrainingError: the text is none.
    """
    try:
        if get_origin(type_hint) is Literal:
            if text not in get_args(type_hint):
                raise ValueError
            return text
        if type_hint is bool:
            return _BOOLEANS[text.lower()]
        return str(text) if type_hint is str else int(text) if type_hint is int else float(text)
    except (ValueError, KeyError):
        accepted = get_args(type_hint) or {bool: ("true", "false"), int: ("a whole number",)}.get(
            type_hint, ("a number",)
        )
        raise TrainingError(f"{name} is {' or '.join(accepted)}, found {text!r}") from None


def _readable_fields(config: type) -> dict[str, Any]:
    hints = get_type_hints(config)
    named = {field.name: hints[field.name] for field in dataclasses.fields(config)}
    readable = {name: _without_none(type_hint) for name, type_hint in named.items()}
    return {
        name: type_hint
        for name, type_hint in readable.items()
        if type_hint in (int, float, bool, str) or get_origin(type_hint) is Literal
    }


def _without_none(type_hint: Any) -> Any:
    """``float`` of ``float | None``: what is not given stays None."""
    kinds = [kind for kind in get_args(type_hint) if kind is not type(None)]
    optional = type(None) in get_args(type_hint) and len(kinds) == 1
    return kinds[0] if optional else type_hint
