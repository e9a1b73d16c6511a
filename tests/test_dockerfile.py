"""No container engine is needed: the image's own install commands, run here, must serve."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def run_steps() -> list[str]:
    return re.findall(r"^RUN (uv sync .*)$", DOCKERFILE, flags=re.MULTILINE)


def copied_paths() -> list[str]:
    sources = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, flags=re.MULTILINE)
    return [path for group in sources for path in group.split()]


def test_the_image_is_unprivileged_checked_and_locked() -> None:
    last_stage = DOCKERFILE.rpartition("FROM ")[2]
    assert re.search(r"^USER \d+$", last_stage, flags=re.MULTILINE)
    assert "HEALTHCHECK" in last_stage
    assert "PYTHONSAFEPATH=1" in last_stage
    assert all("--locked" in step for step in run_steps())


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
            shutil.copytree(
                ROOT / path, source / path, ignore=shutil.ignore_patterns("__pycache__")
            )
        else:
            shutil.copy(ROOT / path, source / path)
    for step in steps:
        subprocess.run(step.split(), cwd=source, env=environment, check=True, capture_output=True)
    python = tmp_path / "opt" / "bin" / "python"
    listed = subprocess.run(
        ["uv", "pip", "list", "--python", str(python)], check=True, capture_output=True, text=True
    ).stdout.lower()
    packages = {line.split()[0] for line in listed.splitlines()[2:]}
    assert {"earshot", "onnxruntime", "fastapi"} <= packages
    assert packages.isdisjoint({"onnxruntime-gpu", "torch", "torchaudio", "librosa", "pandas"})
    probe = (
        "import service.app, service.server, service.batch, sys;"
        "assert 'torch' not in sys.modules; print(service.app.__file__)"
    )
    found = subprocess.run(
        [python, "-P", "-c", probe], check=True, capture_output=True, text=True, cwd=ROOT
    ).stdout
    assert "site-packages" in found
    helped = subprocess.run(
        [tmp_path / "opt" / "bin" / "earshot", "train", "x", "--out", "y"],
        check=False, capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert helped.returncode == 2
    assert "pip install 'earshot[train]'" in helped.stderr
