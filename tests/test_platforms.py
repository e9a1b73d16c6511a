"""Every dependency has a wheel for each system and Python that Earful runs on."""

import pytest
from packaging.requirements import Requirement

from tests.fixtures.locked_wheels import SYSTEMS, locked_requirements, wheel_sizes

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
# What people install (README, training/README.md); the test tools are for Linux.
EXTRAS = [
    "train",
    "synth",
    "media",
    "parquet",
    "remote",
    "postgres",
    "mlflow",
    "tune",
    "cluster",
    "wyoming",
]


@pytest.fixture(scope="module")
def requirements() -> list[Requirement]:
    return locked_requirements([f"--extra={extra}" for extra in EXTRAS])


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", list(SYSTEMS))
def test_every_dependency_has_a_wheel(
    requirements: list[Requirement], system: str, python: str
) -> None:
    sizes = wheel_sizes(requirements, system, python)
    assert len(sizes) > 50
    assert [package for package, size in sizes.items() if size is None] == []
