"""Every dependency has a wheel for each system and Python that Earful runs on."""

import pytest
import yaml
from packaging.requirements import Requirement

from tests.fixtures.locked_wheels import ROOT, SYSTEMS, locked_requirements, wheel_sizes

PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
RUNNERS = {
    "linux-x86_64": "ubuntu-latest",
    "linux-aarch64": "ubuntu-24.04-arm",
    "macos-arm64": "macos-15",
    "windows-amd64": "windows-latest",
}
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


def test_the_workflow_runs_each_system_with_each_python() -> None:
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "test.yml").read_text("utf-8"))
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == PYTHONS
    assert set(matrix["os"]) == set(RUNNERS.values())
    assert set(RUNNERS) == set(SYSTEMS)
    # Wheels are looked for that the oldest macOS takes; the workflow runs a newer one.
    assert "macOS 14 and newer on Apple silicon" in (ROOT / "README.md").read_text("utf-8")
    assert int(RUNNERS["macos-arm64"].removeprefix("macos-")) >= 14
