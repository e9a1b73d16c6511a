"""Every dependency has a wheel for each system and Python that Earful runs on.

The lock file says which wheels there are, so nothing is downloaded and no other machine is needed.
"""

import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.tags import Tag, compatible_tags, cpython_tags, mac_platforms
from packaging.utils import canonicalize_name, parse_wheel_filename

ROOT = Path(__file__).parents[1]
PYTHONS = ["3.11", "3.12", "3.13", "3.14"]
# Of glibc 2.28 (Debian 10, RHEL 8) and newer: what the wheels of torch ask for.
MANYLINUX = [*(f"manylinux_2_{n}" for n in range(28, 4, -1)), "manylinux2014", "manylinux2010"]
SYSTEMS = {
    "linux-x86_64": ("linux", "x86_64", [f"{name}_x86_64" for name in MANYLINUX]),
    "linux-aarch64": ("linux", "aarch64", [f"{name}_aarch64" for name in MANYLINUX]),
    "macos-arm64": ("darwin", "arm64", list(mac_platforms((14, 0), "arm64"))),
    "windows-amd64": ("win32", "AMD64", ["win_amd64"]),
}
PLATFORM_NAMES = {"linux": "Linux", "darwin": "Darwin", "win32": "Windows"}
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


def exported(extras: list[str]) -> list[Requirement]:
    """Packages of the lock file with these extras, and the markers of where each is needed."""
    flags = [f"--extra={extra}" for extra in extras]
    result = subprocess.run(
        [
            *[
                "uv",
                "export",
                "--frozen",
                "--no-hashes",
                "--no-default-groups",
                "--no-emit-project",
            ],
            *flags,
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line.strip() for line in result.stdout.splitlines())
    return [Requirement(line) for line in lines if line and not line.startswith(("#", "-"))]


def wheels_of(name: str, version: str) -> Iterator[frozenset[Tag]]:
    """The tags of each wheel of a locked package."""
    for package in LOCK["package"]:
        if package["name"] == name and package["version"] == version:
            for wheel in package.get("wheels", ()):
                filename = wheel["url"].rpartition("/")[2].replace("%2B", "+")
                yield parse_wheel_filename(filename)[3]


LOCK = tomllib.loads((ROOT / "uv.lock").read_text("utf-8"))


@pytest.fixture(scope="module")
def requirements() -> list[Requirement]:
    return exported(EXTRAS)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("system", list(SYSTEMS))
def test_every_dependency_has_a_wheel(
    requirements: list[Requirement], system: str, python: str
) -> None:
    sys_platform, machine, platforms = SYSTEMS[system]
    environment = {
        "sys_platform": sys_platform,
        "platform_system": PLATFORM_NAMES[sys_platform],
        "platform_machine": machine,
        "os_name": "nt" if sys_platform == "win32" else "posix",
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    version = tuple(map(int, python.split(".")))
    interpreter = f"cp{version[0]}{version[1]}"
    tags = {
        *cpython_tags(version, platforms=platforms),
        *compatible_tags(version, interpreter, platforms),
    }
    needed = [r for r in requirements if r.marker is None or r.marker.evaluate(environment)]
    assert len(needed) > 50
    missing = []
    for requirement in needed:
        [pin] = requirement.specifier
        name = canonicalize_name(requirement.name)
        if not any(wheel & tags for wheel in wheels_of(name, pin.version)):
            missing.append(f"{name} {pin.version}")
    assert not missing
