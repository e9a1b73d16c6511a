"""No container engine is needed: the image's own install commands, run here, must serve."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


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
        "import sys, earful.service.server.server, earful.service.batch.run;"
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
