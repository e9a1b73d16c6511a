"""Options of commands from the settings that dataclasses declare (``training.config.setting``)."""

import dataclasses
import inspect
from collections.abc import Callable, Collection
from typing import Annotated, Any, get_args

import typer

from earful.training.config.network_defaults import NETWORK_DEFAULTS
from earful.training.config.setting import PANELS, DeclaredSetting, settings_of

Command = Callable[..., None]


def with_settings(
    *configs: type, after: str, only: Collection[str] = ()
) -> Callable[[Command], Command]:
    """Give a command, in place of its ``**settings``, an option for each setting of dataclasses.

    The options come after the parameter ``after``; one that is not given is None. ``only`` names
    the settings of a command that has some, in the first panel.
    """
    options = [
        _parameter(name, dataclasses.replace(declared, panel=None) if only else declared)
        for config in configs
        for name, declared in settings_of(config).items()
        if not only or name in only
    ]

    def decorate(command: Command) -> Command:
        signature = inspect.signature(command)
        own = [p.replace(kind=p.KEYWORD_ONLY) for p in signature.parameters.values()][:-1]
        place = 1 + [parameter.name for parameter in own].index(after)
        together = [*own[:place], *options, *own[place:]]
        together.sort(key=lambda parameter: (None, *PANELS).index(_panel(parameter)))
        described: Any = command
        described.__signature__ = signature.replace(parameters=together)
        return command

    return decorate


def _parameter(name: str, declared: DeclaredSetting) -> inspect.Parameter:
    default = _default_text(name, declared)
    summary = f"{declared.help} (default: {default})" if default else declared.help
    option = typer.Option(*declared.flags, help=summary, rich_help_panel=declared.panel)
    value_type = declared.offered or declared.value_type
    annotation: Any = Annotated[value_type | None, option]
    return inspect.Parameter(
        name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _panel(parameter: inspect.Parameter) -> str | None:
    return getattr(get_args(parameter.annotation)[-1], "rich_help_panel", None)


def _default_text(name: str, declared: DeclaredSetting) -> str:
    """The default, and those of networks that have another: ``64; autoencoder 32``.

    A network of one epoch is fitted, and has no use for the settings of training.
    """
    if declared.shown is not None:
        return declared.shown
    models: dict[Any, list[str]] = {}
    for model, defaults in NETWORK_DEFAULTS.items():
        if name in defaults and defaults["epochs"] > 1:
            models.setdefault(defaults[name], []).append(model)
    models.pop(declared.default, None)
    others = [f"{', '.join(named)} {_in_words(value)}" for value, named in models.items()]
    return "; ".join([_in_words(declared.default), *others])


def _in_words(value: object) -> str:
    if value is None or isinstance(value, bool):
        return "yes" if value else "no" if value is False else "none"
    return f"{value:g}" if isinstance(value, float) else str(value)
