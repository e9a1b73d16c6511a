"""JSON from outside the process, checked against a type that states what is accepted.

A type is a frozen dataclass or a pydantic model. Whatever does not fit is a ``ValueError`` with one
sentence: which field, what is accepted, what was found. pydantic is imported when something is
checked, and not at import: to classify a file takes none of it.
"""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar, cast, get_args

if TYPE_CHECKING:
    from pydantic import ConfigDict
    from pydantic_core import SchemaValidator

T = TypeVar("T")

# Of a type: true is no number, "1" is none either, and unknown keys are refused.
STRICT: "ConfigDict" = {"strict": True, "extra": "forbid", "frozen": True, "allow_inf_nan": False}
_MAX_PROBLEMS = 3
_NAME_CHARACTERS, _FOUND_CHARACTERS = 80, 100
# What pydantic calls otherwise in Python and in JSON.
_ACCEPTED = {
    "model_type": "an object",
    "dataclass_type": "an object",
    "dict_type": "an object",
    "list_type": "a list",
    "tuple_type": "a list",
    "string_type": "a string",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
}

# Of one object: each unknown one is a problem of its own.
_MAX_KEYS = 100_000


def parse_json(kind: type[T], content: str | bytes) -> T:
    """The value of a type in a JSON text.

    Raises:
        ValueError: it is no JSON, or does not fit the type.
    """
    return check(kind, read_json(content))


def read_json(content: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is no JSON (RFC 8259): NaN and Infinity are none, and neither is a nest too
            deep to read; an object has a key twice, of which readers take one or the other, or more
            keys than any of ours.
    """
    try:
        return json.loads(
            content, object_pairs_hook=_checked_object, parse_constant=_refuse_constant
        )
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the text is not JSON: {error}") from error


def check(kind: type[T], value: Any) -> T:
    """A value from JSON as its type.

    Raises:
        ValueError: it does not fit.
    """
    from pydantic import ValidationError

    try:
        checked: T = _validator(cast("Any", kind)).validate_python(value)
        return checked
    except ValidationError as error:
        raise ValueError(describe_problems(error.errors(), kind)) from error


def describe_problems(problems: Sequence[Any], kind: type | None = None) -> str:
    """pydantic's errors as one sentence; ``kind`` gives the names of known fields."""
    return "; ".join(_describe(problem, kind) for problem in problems[:_MAX_PROBLEMS])


def _describe(problem: Mapping[str, Any], kind: type | None) -> str:
    path = [part for part in problem["loc"] if not _is_no_field(part)]
    name = ".".join(map(str, path))[:_NAME_CHARACTERS] or "the JSON"
    message = str(problem["msg"]).removeprefix("Value error, ")[:200]
    if problem["type"] == "missing":
        return f"{name} is missing"
    if problem["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _field_names(kind, [part for part in path[:-1] if isinstance(part, str)])
        return f"{name} is unknown" + (f"; accepted are {', '.join(known)}" if known else "")
    if problem["type"] in _ACCEPTED:
        message = f"must be {_ACCEPTED[problem['type']]}"
    elif message.startswith("Input should be "):
        message = message.replace("Input should be", "must be", 1)
    else:
        return f"{name}: {message}"
    return f"{name} {message}, found {_found(problem['input'])}"


def _is_no_field(part: str | int) -> bool:
    """Whether a part of a path is FastAPI's or the member of a union, ``list[float]``, ``(a)``."""
    return part in ("query", "path") or str(part).startswith(("list[", "("))


def _found(value: object) -> str:
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "a list"
    return f"{value!r:.{_FOUND_CHARACTERS}}"


def _field_names(kind: Any, path: Sequence[str]) -> list[str]:
    """The fields of a type, or of one within it; none where it cannot be told."""
    if is_dataclass(kind):
        return [] if path else sorted(field.name for field in fields(kind))
    known = getattr(kind, "model_fields", {})
    if not path:
        return sorted(known)
    field = known.get(path[0])
    kinds = () if field is None else (field.annotation, *get_args(field.annotation))
    return next((names for k in kinds if (names := _field_names(k, path[1:]))), [])


@cache
def _validator(kind: Any) -> "SchemaValidator":
    from pydantic import TypeAdapter
    from pydantic_core import SchemaValidator

    schema = _as_json(TypeAdapter(kind).core_schema)
    return SchemaValidator(schema, {"strict": True, "allow_inf_nan": False})


def _as_json(schema: Any) -> Any:
    """A schema that takes an object for a dataclass and a list for a tuple, also if it is strict.

    pydantic's own way is to parse the text itself, which no lone half of a character survives:
    names of files have some. A model is taken as it is: its long lists have ``fail_fast``, as there
    may be millions of problems.
    """
    if isinstance(schema, list):
        return [_as_json(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    parts = {name: _as_json(part) for name, part in schema.items()}
    return parts | {"strict": False} if schema.get("type") in ("dataclass", "tuple") else parts


def _checked_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(pairs) > _MAX_KEYS:
        raise ValueError(f"an object has {len(pairs)} keys, at most {_MAX_KEYS} are accepted")
    if len(values) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        repeated = next(name for name in counts if counts[name] > 1)
        raise ValueError(f"the key {repeated[:_NAME_CHARACTERS]!r} is there twice")
    return values


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON")
