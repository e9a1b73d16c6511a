"""It starts and works on a system that gives less than Linux (``tests.fixtures.without_posix``)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.fixtures.server import logged_url
from tests.fixtures.without_posix import take_away

ROOT = Path(__file__).parents[3]
WITHOUT_POSIX = [sys.executable, "-P", str(ROOT / "tests" / "fixtures" / "without_posix.py")]
IMPORT_ALL = f"""
import importlib, pkgutil, sys
sys.path.insert(0, {str(ROOT)!r})
from tests.fixtures.without_posix import {take_away.__name__}
take_away()
import earful
for module in pkgutil.walk_packages(earful.__path__, "earful."):
    if not module.name.startswith("earful.training.recipes.digits."):
        importlib.import_module(module.name)
"""


def run_without_posix(module: str, *words: str, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run a module of a folder in that folder."""
    return subprocess.run(
        [*WITHOUT_POSIX, module, *words],
        env={**os.environ, "PYTHONPATH": str(folder)},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )


# Commands one after the other in one process, which imports torch once.
RUN_COMMANDS = """
import json, sys
from earful.training.cli import main
if __name__ == "__main__":  # not in the processes that a command starts
    for words in json.loads(sys.argv[1]):
        sys.argv = ["earful", *words]
        try:
            main()
        except SystemExit as ended:
            if ended.code:
                raise
"""


@pytest.mark.slow
def test_every_module_can_be_imported(tmp_path: Path) -> None:
    command = [sys.executable, "-c", IMPORT_ALL]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


CHILD = "import os, sys; print(hasattr(os, 'fork'), sys.modules.get('fcntl', 'there'))"
PARENT = f"""
import subprocess, sys
print(subprocess.run([sys.executable, "-P", "-c", {CHILD!r}], capture_output=True, text=True))
"""


def test_processes_that_it_starts_have_no_more_than_it(tmp_path: Path) -> None:
    (tmp_path / "parent.py").write_text(PARENT)
    ended = run_without_posix("parent", folder=tmp_path)
    assert "stdout='False None" in ended.stdout, ended


@pytest.mark.slow
def test_the_way_from_clips_to_a_service(tones_csv: Path, tmp_path: Path) -> None:
    settings = ("--model", "mlp", "--epochs", "1", "--device", "cpu")
    clips = str(tones_csv.parent)
    commands = [
        ("prepare", str(tones_csv), "--out", "dataset", "--split", "random"),
        ("train", "dataset", "--out", "run", *settings),
        ("export", "run", "--out", "model.onnx"),
        ("classify", clips, "--model", "model.onnx", "--out", "results.csv", "--workers", "2"),
        ("models", "register", "tones", "model.onnx", "--promote"),
    ]
    (tmp_path / "run_commands.py").write_text(RUN_COMMANDS)
    ended = run_without_posix("run_commands", json.dumps(commands), folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    assert len((tmp_path / "results.csv").read_text().splitlines()) > 10
    assert_serves(tmp_path, next(tones_csv.parent.glob("*.wav")))


def assert_serves(folder: Path, clip: Path) -> None:
    log = folder / "server.log"
    words = ["earful.training.cli", "serve", "--model", "tones", "--port", "0"]
    with (
        log.open("wb") as file,
        subprocess.Popen([*WITHOUT_POSIX, *words], cwd=folder, stderr=file) as process,
    ):
        try:
            url = logged_url(log, process)
            transport = httpx.HTTPTransport(retries=20)
            with httpx.Client(base_url=url, transport=transport, timeout=60) as client:
                answer = client.post("/v1/classify", content=clip.read_bytes())
                assert answer.status_code == 200, answer.text
                assert json.loads(answer.text)["results"][0]["label"]
        finally:
            process.terminate()
            process.wait(30)
    assert "Traceback" not in log.read_text()
