"""No container engine is needed: the image's own install commands, run here, must serve."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.fixtures.locked_wheels import locked_requirements, wheel_sizes

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
IMAGE_SYSTEMS = ["linux-x86_64", "linux-aarch64"]
MAX_WHEELS_MB = 110


def stage(name: str) -> str:
    """The instructions from ``FROM ... AS name`` to the next FROM."""
    found = re.search(rf"^FROM \S+ AS {name}$(.*?)^FROM ", DOCKERFILE, re.MULTILINE | re.DOTALL)
    assert found, name
    return found[1]


def run_steps(variant: str = "cpu") -> list[str]:
    return re.findall(r"^RUN (uv sync .*)$", stage(variant), flags=re.MULTILINE)


def copied_paths(variant: str = "cpu") -> list[str]:
    instructions = stage("source") + stage(variant)
    sources = re.findall(r"^COPY (?!--from)(.+) \S+$", instructions, flags=re.MULTILINE)
    return [path for group in sources for path in group.split()]


def test_the_image_is_unprivileged_checked_and_locked() -> None:
    last_stage = DOCKERFILE.rpartition("FROM ")[2]
    assert re.search(r"^USER \d+$", last_stage, flags=re.MULTILINE)
    assert "HEALTHCHECK" in last_stage
    assert "PYTHONSAFEPATH=1" in last_stage
    for variant in ("cpu", "cuda"):
        assert len(run_steps(variant)) == 2
        assert all("--locked" in step for step in run_steps(variant))
    assert copied_paths("cpu") == copied_paths("cuda")


def test_the_cuda_variant_installs_one_onnxruntime_and_its_libraries() -> None:
    command = [*run_steps("cuda")[1].split(), "--dry-run"]
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": "/nonexistent/earful"}
    environment.pop("VIRTUAL_ENV", None)
    done = subprocess.run(
        command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    packages = set(re.findall(r"^ \+ ([\w-]+)==", done.stderr, flags=re.MULTILINE))
    assert {"onnxruntime-gpu", "nvidia-cudnn-cu13"} <= packages
    assert packages.isdisjoint({"onnxruntime", "torch"})


def locked_flags(variant: str) -> list[str]:
    """The flags of a variant's install command, as ``uv export`` has them."""
    flags = run_steps(variant)[1].split()[2:]
    without = ("--locked", "--no-default-groups", "--no-editable")
    renamed = {"--no-install-package": "--no-emit-package"}
    return [renamed.get(flag, flag) for flag in flags if flag not in without]


@pytest.mark.parametrize("system", IMAGE_SYSTEMS)
def test_the_image_builds_from_wheels_and_stays_small(system: str) -> None:
    """No compiler is in the image; compressed layers hold about what the wheels have."""
    python = re.search(r"^ARG PYTHON_VERSION=(\S+)$", DOCKERFILE, flags=re.MULTILINE)
    assert python is not None
    sizes = wheel_sizes(locked_requirements(locked_flags("cpu")), system, python[1])
    megabytes = {package: (size or 0) / 1e6 for package, size in sizes.items()}
    total = sum(megabytes.values())
    largest = sorted(megabytes.items(), key=lambda item: -item[1])[:5]
    print(f"{system}: {len(sizes)} wheels, {total:.1f} MB; {largest}")
    assert [package for package, size in sizes.items() if not size] == []
    names = {package.split()[0] for package in sizes}
    assert {"onnxruntime", "av", "psycopg-binary"} <= names
    assert names.isdisjoint({"onnxruntime-gpu", "torch", "pandas", "scipy"})
    assert total < MAX_WHEELS_MB


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_its_install_commands_resolve_on_both_machines(machine: str) -> None:
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": "/nonexistent/earful"}
    environment.pop("VIRTUAL_ENV", None)
    for step in run_steps("cpu"):
        command = [*step.split(), "--dry-run", "--python-platform", f"{machine}-manylinux_2_28"]
        done = subprocess.run(
            command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        packages = set(re.findall(r"^ \+ ([\w-]+)==", done.stderr, flags=re.MULTILINE))
        assert "onnxruntime" in packages
        assert packages.isdisjoint({"onnxruntime-gpu", "torch"})


def test_nothing_needs_a_shell_in_the_image() -> None:
    last_stage = DOCKERFILE.rpartition("FROM ")[2].replace("\\\n", " ")
    for instruction in ("HEALTHCHECK", "ENTRYPOINT", "CMD"):
        [line] = re.findall(rf"^{instruction} (.*)$", last_stage, flags=re.MULTILINE)
        command = json.loads(line[line.index("[") :])
        assert command[0] not in {"sh", "bash", "/bin/sh"}


@pytest.mark.slow
def test_its_install_commands_give_an_environment_that_serves_without_torch(
    tmp_path: Path,
) -> None:
    source = tmp_path / "src"
    source.mkdir()
    environment = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(tmp_path / "opt")}
    environment.pop("VIRTUAL_ENV", None)
    steps = run_steps()
    assert len(steps) == 2
    for path in copied_paths():
        if (ROOT / path).is_dir():
            unwanted = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / path, source / path, symlinks=True, ignore=unwanted)
        else:
            shutil.copy(ROOT / path, source / path)
    for step in steps:
        subprocess.run(step.split(), cwd=source, env=environment, check=True, capture_output=True)
    python = tmp_path / "opt" / "bin" / "python"
    listed = subprocess.run(
        ["uv", "pip", "list", "--python", str(python)], check=True, capture_output=True, text=True
    ).stdout.lower()
    packages = {line.split()[0] for line in listed.splitlines()[2:]}
    assert {"earful", "onnxruntime", "fastapi"} <= packages
    assert packages.isdisjoint({"onnxruntime-gpu", "torch", "torchaudio", "librosa", "pandas"})
    probe = (
        "import sys, earful.service.server.server, earful.service.batch.job;"
        "from earful.service.server import app;"
        "assert 'torch' not in sys.modules; print(app.__file__)"
    )
    found = subprocess.run(
        [python, "-P", "-c", probe], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout
    assert "site-packages" in found
    helped = subprocess.run(
        [tmp_path / "opt" / "bin" / "earful", "train", "x", "--out", "y"],
        check=False, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert helped.returncode == 2
    assert "uv sync --inexact --extra train" in helped.stderr
