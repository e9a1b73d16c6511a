"""Overrides given as NAME=VALUE: fields of ``TrainConfig`` and options of a network."""

import contextlib
import dataclasses
from collections.abc import Callable, Container, Mapping, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from earful.data.errors import did_you_mean
from earful.models.networks.encoder import pin_encoder_file
from earful.models.networks.zoo import ZOO, check_options, input_kinds, zoo_entry
from earful.training.config.network_defaults import DEFAULT_LEARNING_RATES
from earful.training.config.setting import without_none
from earful.training.config.train_config import TrainConfig, TrainingError

SettingValue = str | int | float | bool
_BOOLEANS = {"true": True, "yes": True, "false": False, "no": False}
# Types that can be given as text, beside choices: how they are read, and what messages call them.
_READERS: dict[Any, Callable[[str], SettingValue]] = {
    bool: lambda text: _BOOLEANS[text.lower()],
    int: int,
    float: float,
    str: str,
}
_NAMES = {bool: ("true", "false"), int: ("a whole number",), float: ("a number",), str: ("a text",)}


def apply_overrides(base: TrainConfig, values: Mapping[str, SettingValue]) -> TrainConfig:
    """``base`` with these fields and network options replaced.

    A new optimizer brings its default learning rate, unless ``values`` has one.

    Raises:
        EarfulError: an invalid value, or an option that the network does not have.
    """
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    config_values: dict[str, Any] = {
        name: value for name, value in values.items() if name in fields
    }
    chosen = config_values.get("optimizer", base.optimizer)
    if chosen != base.optimizer and "learning_rate" not in config_values:
        config_values["learning_rate"] = DEFAULT_LEARNING_RATES.get(chosen, base.learning_rate)
    model = config_values.get("model", base.model)
    given = {name: value for name, value in values.items() if name not in fields}
    options = pin_encoder_file({**base.options, **given})
    check_options(model, options)
    if zoo_entry(model).own_input and "features" not in config_values:
        [config_values["features"]] = input_kinds(model, options)
    return dataclasses.replace(base, **config_values, options=options)


def parse_settings(
    model: str,
    texts: Sequence[str],
    flag: str,
    disallowed: Sequence[str] = (),
    given: Container[str] = (),
) -> dict[str, SettingValue]:
    """``NAME=VALUE`` of settings and options, by the types that they have.

    Raises:
        TrainingError: an unknown or disallowed name, one that is ``given`` already, or a value that
            the setting cannot have.
    """
    types = setting_types(model, disallowed)
    pairs = parse_pairs(texts, flag, "NAME=VALUE")
    for name, _ in pairs:
        if name in disallowed:
            own_flag = "--" + name.replace("_", "-")
            raise TrainingError(
                f"{name} is not for {flag}; use the flag {own_flag} of the command, if it has one"
            )
    values = {name: parse_value(name, text, setting_type(name, types)) for name, text in pairs}
    if twice := sorted(name for name in values if name in given):
        raise TrainingError(f"{', '.join(twice)} is given twice: by its flag and by {flag}")
    return values


def setting_types(model: str, disallowed: Sequence[str] = ()) -> dict[str, Any]:
    """Type of each setting and network option that can be given as text, without ``disallowed``."""
    types = {**_types_of_fields(zoo_entry(model).config), **_types_of_fields(TrainConfig)}
    return {
        name: type_hint
        for name, type_hint in types.items()
        if name not in disallowed and (type_hint in _NAMES or get_origin(type_hint) is Literal)
    }


def setting_type(name: str, types: Mapping[str, Any]) -> Any:
    """The type of a setting.

    Raises:
        TrainingError: an unknown setting; the message lists the known ones.
    """
    if name not in types:
        raise TrainingError(
            f"no setting is called {name!r}{did_you_mean(name, types)}; there are "
            f"{', '.join(sorted(types))}"
        )
    return types[name]


def check_setting(model: str, name: str, value: object) -> None:
    """Refuse a setting that no network has, and a value of another type.

    An option of another network is left to ``check_options``.

    Raises:
        TrainingError: it is unknown, or has another type.
    """
    types = setting_types(model)
    options = {field.name for entry in ZOO.values() for field in dataclasses.fields(entry.config)}
    if name in types or name not in options:
        _require_type(name, value, setting_type(name, types))


def _require_type(name: str, value: object, type_hint: Any) -> None:
    """A whole number is a number too; a truth value is none."""
    choices = get_args(type_hint)
    if choices:
        fits = value in choices
    elif type_hint is float:
        fits = isinstance(value, int | float) and not isinstance(value, bool)
    else:
        fits = type(value) is type_hint
    if fits:
        return
    accepted = choices or _NAMES[type_hint]
    hint = did_you_mean(str(value), choices)
    raise TrainingError(f"{name} is {' or '.join(accepted)}, found {value!r}{hint}")


def parse_pairs(texts: Sequence[str], flag: str, expected_form: str) -> list[tuple[str, str]]:
    """Split ``NAME=VALUE`` texts into pairs; hyphens in names become underscores.

    Raises:
        TrainingError: a text of another form, or a name that occurs twice.
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
    """Parse a text as a value of ``type_hint``.

    Raises:
        TrainingError: the text is no such value.
    """
    value: SettingValue = text
    with contextlib.suppress(ValueError, KeyError):
        value = _READERS.get(type_hint, str)(text)
    _require_type(name, value, type_hint)
    return value


def _types_of_fields(config: type) -> dict[str, Any]:
    hints = get_type_hints(config)
    return {field.name: without_none(hints[field.name]) for field in dataclasses.fields(config)}
