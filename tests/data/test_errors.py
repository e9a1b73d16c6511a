"""The error tree in the docstring of ``data.errors`` matches the code."""

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from earful.data import errors
from earful.data.errors import (
    EarfulError,
    UsageError,
    command,
    did_you_mean,
    did_you_mean_path,
    optional_path,
    require_choice,
    require_number,
    require_path,
)

TREE = re.findall(r"── (\w+) +([\w.]+)", errors.__doc__ or "")


@pytest.mark.parametrize(("name", "module"), TREE)
def test_every_error_is_in_the_module_the_tree_names(name: str, module: str) -> None:
    error = getattr(importlib.import_module(f"earful.{module}"), name)
    assert issubclass(error, EarfulError)
    assert error.__module__ == f"earful.{module}"


def test_tree_lists_every_error() -> None:
    for package in ("data", "models", "service", "training"):
        folder = Path(importlib.import_module(f"earful.{package}").__path__[0])
        for path in folder.rglob("*.py"):
            importlib.import_module(
                ".".join(["earful", package, *path.relative_to(folder).parts])[:-3]
            )
    found = {error.__name__ for error in EarfulError.__subclasses__()}
    assert found == {name for name, _ in TREE}


@pytest.mark.parametrize(
    ("name", "choices", "nearest"),
    [
        ("CRNN", ("cnn", "crnn"), "crnn"),
        ("gpu", ("auto", "cpu", "cuda"), "cuda"),
        ("lr", ("l1", "learning_rate"), "learning_rate"),
        ("learning-rat", ("l1", "learning_rate"), "learning_rate"),
        ("gpu", ("auto", "cpu"), "cpu"),
        ("zebra", ("cnn", "crnn"), ""),
    ],
)
def test_nearest_choice_ignores_case_and_knows_other_words(
    name: str, choices: tuple[str, ...], nearest: str
) -> None:
    assert did_you_mean(name, choices) == (f" (did you mean {nearest!r}?)" if nearest else "")


def test_nearest_path_ignores_case(tmp_path: Path) -> None:
    (tmp_path / "labels.csv").touch()
    assert did_you_mean_path(tmp_path / "LABELS.CSV") == f" (did you mean '{tmp_path}/labels.csv'?)"


def test_commands_of_messages_can_be_copied() -> None:
    text = command("export", "my run/it's", "--out", "m.onnx")
    assert shlex.split(text.strip("`")) == ["earful", "export", "my run/it's", "--out", "m.onnx"]


def test_a_choice_is_checked_and_the_nearest_is_named() -> None:
    require_choice("split", "speaker", ("speaker", "random"))
    message = r"^split is 'speaker' or 'random', found 'speakr' \(did you mean 'speaker'\?\)$"
    with pytest.raises(UsageError, match=message):
        require_choice("split", "speakr", ("speaker", "random"))
    for value in (None, 3, ["speaker"], "Speaker"):
        with pytest.raises(UsageError, match="split is 'speaker' or 'random', found "):
            require_choice("split", value, ("speaker", "random"))


@pytest.mark.parametrize("value", ["a", None, True, 7, -1, float("nan"), float("inf"), [1], 1j])
def test_a_number_is_checked(value: Any) -> None:
    with pytest.raises(UsageError, match=r"^score is a number from 0 to 1, found "):
        require_number("score", value, 0, 1)


def test_numbers_of_numpy_are_numbers() -> None:
    require_number("score", np.float32(0.5), 0, 1)
    require_number("n", np.int64(3), whole=True)
    with pytest.raises(UsageError, match=r"^n is a whole number, found 1\.5$"):
        require_number("n", 1.5, whole=True)


@pytest.mark.parametrize("value", [None, 5, "", b"a", ["a"], "a\0b"])
def test_a_path_is_checked(value: Any) -> None:
    with pytest.raises(UsageError, match=r"^out is a path, found "):
        require_path("out", value)


def test_paths_may_be_texts_and_optional() -> None:
    assert require_path("out", "a/b") == require_path("out", Path("a/b")) == Path("a/b")
    assert optional_path("out", None) is None
    assert optional_path("out", "a") == Path("a")
