"""Settings by name and text: fields of ``TrainConfig`` and options of a network."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin, get_type_hints

from earful.models.networks.zoo import check_options, entry
from earful.training.config.train_config import DEFAULT_RATES, TrainConfig, TrainingError

Value = str | int | float | bool
_TRUTH = {"true": True, "yes": True, "false": False, "no": False}


def settled(base: TrainConfig, values: Mapping[str, Value]) -> TrainConfig:
    """The configuration with these settings and options of the network.

    Another optimizer brings its own learning rate, where none is given.

    Raises:
        EarfulError: a value that cannot be trained with, or an option that the network has not.
    """
    fields = {field.name for field in dataclasses.fields(TrainConfig)}
    own: dict[str, Any] = {name: value for name, value in values.items() if name in fields}
    chosen = own.get("optimizer", base.optimizer)
    if chosen != base.optimizer and "learning_rate" not in own:
        own["learning_rate"] = DEFAULT_RATES.get(chosen, base.learning_rate)
    options = {name: value for name, value in values.items() if name not in fields}
    config = dataclasses.replace(base, **own, options={**base.options, **options})
    check_options(config.model, config.options)
    return config


def read_settings(
    model: str, texts: Sequence[str], flag: str, refused: Sequence[str] = ()
) -> dict[str, Value]:
    """``NAME=VALUE`` of settings and options, by the types that they have.

    Raises:
        TrainingError: a name that there is not (or that is ``refused``), or a value that it cannot
            have.
    """
    types = setting_types(model, refused)
    return {
        name: read_value(name, text, type_of(name, types))
        for name, text in read_pairs(texts, flag, "NAME=VALUE")
    }


def read_options(model: str, texts: Sequence[str]) -> dict[str, Value]:
    """``NAME=VALUE`` of a network's own options.

    Raises:
        TrainingError: an option that it has not, or a value that the option cannot have.
    """
    types = option_types(model)
    return {
        name: read_value(name, text, type_of(name, types, f"option of {model}"))
        for name, text in read_pairs(texts, "--option", "NAME=VALUE")
    }


def option_types(model: str) -> dict[str, Any]:
    """The options of a network that a text can give, with their types."""
    return _readable_fields(entry(model).config)


def setting_types(model: str, refused: Sequence[str] = ()) -> dict[str, Any]:
    """All settings that a text can give, with their types."""
    types = {**option_types(model), **_readable_fields(TrainConfig)}
    return {name: hint for name, hint in types.items() if name not in refused}


def type_of(name: str, types: Mapping[str, Any], kind: str = "setting") -> Any:
    """The type of a setting.

    Raises:
        TrainingError: there is no such setting; the message lists those there are.
    """
    if name not in types:
        has = ", ".join(sorted(types)) or "none"
        raise TrainingError(f"no {kind} is called {name!r}; there are {has}")
    return types[name]


def read_pairs(texts: Sequence[str], flag: str, form: str) -> list[tuple[str, str]]:
    """``NAME=...`` apart, with underscores in the names.

    Raises:
        TrainingError: a text of another form, or a name that is there twice.
    """
    pairs = []
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not value.strip():
            raise TrainingError(f"{flag} is {form}, found {text!r}")
        pairs.append((name.strip().replace("-", "_"), value.strip()))
    names = [name for name, _ in pairs]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TrainingError(f"{flag} names {', '.join(twice)} twice")
    return pairs


def read_value(name: str, text: str, hint: Any) -> Value:
    """A value of a type.

    Raises:
        TrainingError: the text is none.
    """
    try:
        if get_origin(hint) is Literal:
            if text not in get_args(hint):
                raise ValueError
            return text
        if hint is bool:
            return _TRUTH[text.lower()]
        return str(text) if hint is str else int(text) if hint is int else float(text)
    except (ValueError, KeyError):
        accepted = get_args(hint) or {bool: ("true", "false"), int: ("a whole number",)}.get(
            hint, ("a number",)
        )
        raise TrainingError(f"{name} is {' or '.join(accepted)}, found {text!r}") from None


def _readable_fields(config: type) -> dict[str, Any]:
    hints = get_type_hints(config)
    named = {field.name: hints[field.name] for field in dataclasses.fields(config)}
    given = {name: _without_none(hint) for name, hint in named.items()}
    return {
        name: hint
        for name, hint in given.items()
        if hint in (int, float, bool, str) or get_origin(hint) is Literal
    }


def _without_none(hint: Any) -> Any:
    """``float`` of ``float | None``: what is not given stays None."""
    kinds = [kind for kind in get_args(hint) if kind is not type(None)]
    optional = type(None) in get_args(hint) and len(kinds) == 1
    return kinds[0] if optional else hint
