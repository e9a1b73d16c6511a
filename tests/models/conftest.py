"""Tests of networks run torch on one thread."""

from collections.abc import Iterator

import pytest

from tests.fixtures.synthetic_audio import one_torch_thread


@pytest.fixture(autouse=True)
def _one_torch_thread() -> Iterator[None]:
    with one_torch_thread():
        yield
