"""JSON from outside: what is refused, and what the error says."""

from dataclasses import dataclass
from typing import Annotated

import pytest
from pydantic import BaseModel, Field

from earful.data.text.json_input import STRICT, parse_json, read_json


@dataclass(frozen=True)
class Part:
    __pydantic_config__ = STRICT

    count: int
    share: float = 0.0


@dataclass(frozen=True)
class Record:
    __pydantic_config__ = STRICT

    name: str
    parts: tuple[Part, ...] = ()


class Inner(BaseModel):
    model_config = STRICT

    size: int = 1


class Outer(BaseModel):
    model_config = STRICT

    name: str
    inner: Inner | None = None
    several: Annotated[list[Inner], Field(fail_fast=True)] = []


def test_a_record_is_read_with_its_parts() -> None:
    text = '{"name": "a", "parts": [{"count": 1, "share": 1}, {"count": 2}]}'
    assert parse_json(Record, text) == Record("a", (Part(1, 1.0), Part(2)))
    assert parse_json(Outer, b'{"name": "\\ud800", "inner": {"size": 2}}').name == "\ud800"
    assert parse_json(Record, '{"name": "\\ud800"}') == Record("\ud800")
    assert parse_json(Record, '\ufeff{"name": "a"}'.encode()) == Record("a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "the text is not JSON: "),
        (b"\xff", "the text is not JSON: "),
        ("[" * 100_000, "the text is not JSON: "),
        ("1" * 5_000, "the text is not JSON: "),
        ('{"name": NaN}', "the text is not JSON: NaN is no number of JSON"),
        ('{"name": "a", "name": "b"}', "the text is not JSON: the key 'name' is there twice"),
        ("[]", "the JSON must be an object, found a list"),
        ("null", "the JSON must be an object, found None"),
        ("{}", "name is missing"),
        ('{"name": 5}', "name must be a string, found 5"),
        ('{"name": {}}', "name must be a string, found an object"),
        ('{"name": "a", "parts": {}}', "parts must be a list, found an object"),
        ('{"name": "a", "parts": [5]}', "parts.0 must be an object, found 5"),
        (
            '{"name": "a", "parts": [{"count": true}]}',
            "parts.0.count must be a whole number, found True",
        ),
        (
            '{"name": "a", "parts": [{"count": 1.0}]}',
            "parts.0.count must be a whole number, found 1.0",
        ),
        (
            '{"name": "a", "parts": [{"count": 1, "share": "1"}]}',
            "parts.0.share must be a number, found '1'",
        ),
        (
            '{"name": "a", "parts": [{"count": 1, "share": 1e999}]}',
            "parts.0.share must be a finite number, found inf",
        ),
        ('{"name": "a", "nane": 1}', "nane is unknown; accepted are name, parts"),
    ],
)
def test_what_does_not_fit_a_record_is_said_in_one_sentence(
    text: str | bytes, message: str
) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - its text is compared
        parse_json(Record, text)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "the JSON must be an object, found a list"),
        ('{"name": "a", "inner": 5}', "inner must be an object, found 5"),
        (
            '{"name": "a", "inner": {"siez": 1}}',
            "inner.siez is unknown; accepted are size",
        ),
        (
            '{"name": "a", "several": [{"siez": 1}]}',
            "several.0.siez is unknown; accepted are size",
        ),
    ],
)
def test_what_does_not_fit_a_model_is_said_in_one_sentence(text: str, message: str) -> None:
    with pytest.raises(ValueError) as raised:  # noqa: PT011 - its text is compared
        parse_json(Outer, text)
    assert str(raised.value) == message


@pytest.mark.parametrize("text", ["[true, 1]", "[1.0, 1]", '["1", 1]', "[1, NaN]", "[1]", "{}"])
def test_types_of_python_are_strict_too(text: str) -> None:
    assert parse_json(tuple[int, float], "[1, 2]") == (1, 2.0)
    with pytest.raises(ValueError, match=r"must be|missing|NaN"):
        parse_json(tuple[int, float], text)


def test_a_model_that_converts_does_so() -> None:
    class Lax(BaseModel):
        flag: bool

    assert parse_json(Lax, '{"flag": "true"}').flag


def test_long_values_are_cut_and_few_problems_are_listed() -> None:
    unknown = ", ".join(f'"{number}": 1' for number in range(1000))
    with pytest.raises(ValueError, match="name must be a string") as raised:
        parse_json(Record, f'{{"name": 1{"0" * 4000}, {unknown}}}')
    assert len(str(raised.value)) < 400


def test_millions_of_problems_are_not_listed() -> None:
    with pytest.raises(ValueError, match=r"^several\.0 must be an object, found 5$"):
        parse_json(Outer, f'{{"name": "a", "several": [{"5, " * 1_000_000}5]}}')
    unknown = ", ".join(f'"{number}": 1' for number in range(100_001))
    with pytest.raises(ValueError, match="100001 keys, at most 100000 are accepted"):
        parse_json(Record, f"{{{unknown}}}")


def test_repeated_keys_are_found_at_any_depth() -> None:
    with pytest.raises(ValueError, match="'b' is there twice"):
        read_json('{"a": [{"b": 1, "b": 1}]}')
