"""The error tree drawn in ``data.errors`` is the one in the code."""

import importlib
import re

import pytest

import data.errors

TREE = re.findall(r"── (\w+) +([\w.]+)", data.errors.__doc__ or "")


@pytest.mark.parametrize(("name", "module"), TREE)
def test_every_error_is_where_the_tree_says(name: str, module: str) -> None:
    error = getattr(importlib.import_module(module), name)
    assert issubclass(error, data.errors.EarshotError)
    assert error.__module__ == module


def test_the_tree_is_not_empty() -> None:
    assert len(TREE) >= 9
