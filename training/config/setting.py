"""What a setting declares beside its type: its default, its help, its flags and its bounds."""

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar, get_args, get_type_hints

_Value = TypeVar("_Value")
# Of the help, in its order.
PANELS = ("Features", "Training clips", "Optimisation", "Loss", "Network", "Hardware")
FEATURES, CLIPS, OPTIMISATION, LOSS, NETWORK, HARDWARE = PANELS


@dataclass(frozen=True)
class Bounds:
    """Values that a number can have; ``text`` goes on after "must be"."""

    text: str
    include: Callable[[float], bool]


POSITIVE = Bounds("finite and above 0", lambda value: 0 < value < math.inf)
NOT_NEGATIVE = Bounds("0 or more", lambda value: 0 <= value < math.inf)
FRACTION = Bounds("from 0 to 1", lambda value: 0 <= value <= 1)


@dataclass(frozen=True)
class DeclaredSetting:
    """A field of a dataclass that is checked, and offered by commands.

    value_type  without None
    help        one sentence
    panel       of the command's help; None: the first one
    shown       the default in words, where it is not a value; empty: the help does not say it
    flags       where they are not the name with hyphens
    offered     the type of the option, where it is narrower
    """

    value_type: Any
    default: Any
    help: str
    bounds: tuple[Bounds, ...] = ()
    panel: str | None = None
    shown: str | None = None
    flags: tuple[str, ...] = ()
    offered: Any = None


def setting(default: _Value, summary: str, *bounds: Bounds, **more: Any) -> _Value:
    """Declare a field of a dataclass; ``more`` are further fields of ``DeclaredSetting``."""
    declared = {"help": summary, "bounds": bounds, **more}
    field: _Value = dataclasses.field(default=default, metadata=declared)
    return field


@cache
def settings_of(config: type) -> dict[str, DeclaredSetting]:
    """The fields of a dataclass that are declared by ``setting``, by name."""
    hints = get_type_hints(config)
    return {
        field.name: DeclaredSetting(
            without_none(hints[field.name]), field.default, **field.metadata
        )
        for field in dataclasses.fields(config)
        if field.metadata
    }


def without_none(type_hint: Any) -> Any:
    """``float`` for ``float | None``."""
    kinds = [kind for kind in get_args(type_hint) if kind is not type(None)]
    optional = type(None) in get_args(type_hint) and len(kinds) == 1
    return kinds[0] if optional else type_hint
