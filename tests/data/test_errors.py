"""The error tree in the docstring of ``data.errors`` matches the code."""

import importlib
import re
from pathlib import Path

import pytest

from earful.data import errors
from earful.data.errors import EarfulError

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
