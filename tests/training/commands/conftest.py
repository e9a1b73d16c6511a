"""A home folder of a user: tones, a dataset, a run and a model file."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from earful.data.errors import EarfulError
from earful.training.cli import build_app
from tests.fixtures.built_once import built_once
from tests.training.conftest import write_tones

RunCommand = Callable[..., Result]


@dataclass(frozen=True)
class Printed:
    """What a command wrote."""

    stdout: str
    stderr: str


@dataclass(frozen=True)
class Home:
    """Files that commands made, and what they printed."""

    labels: Path
    dataset: Path
    run: Path
    model: Path
    results: dict[str, Printed]


def run_earful(*arguments: object) -> Result:
    """Run a command in this process; an error of ours is in ``exception``."""
    result = CliRunner().invoke(build_app(), [str(argument) for argument in arguments])
    if not isinstance(result.exception, SystemExit | EarfulError | None):
        raise result.exception
    return result


@pytest.fixture(scope="session")
def earful() -> RunCommand:
    return run_earful


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = built_once(tmp_path_factory, "home", build_home)
    printed = json.loads((folder / "printed.json").read_text("utf-8"))
    results = {name: Printed(*texts) for name, texts in printed.items()}
    labels = folder / "clips" / "labels.csv"
    return Home(labels, folder / "dataset", folder / "run", folder / "model.onnx", results)


def build_home(folder: Path) -> None:
    dataset, run, model = folder / "dataset", folder / "run", folder / "model.onnx"
    labels = write_tones(folder / "clips")
    quick = ("--epochs", 2, "--batch-size", 16, "--device", "cpu")
    results = {
        "prepare": run_earful("prepare", labels, "--out", dataset, "--split", "random"),
        "train": run_earful("train", dataset, "--out", run, "--model", "cnn", *quick),
        "export": run_earful("export", run, "--out", model),
        "evaluate": run_earful("evaluate", model, dataset, "--out", folder / "report"),
    }
    for name, result in results.items():
        assert result.exit_code == 0, (name, result.output, result.exception)
    printed = {name: (result.stdout, result.stderr) for name, result in results.items()}
    (folder / "printed.json").write_text(json.dumps(printed), encoding="utf-8")


@pytest.fixture(scope="session")
def int8_model(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of ``home`` as INT8; beside it is the ``run`` that keeps its figures."""
    return built_once(tmp_path_factory, "int8", partial(export_int8, home.run)) / "model.onnx"


def export_int8(run: Path, folder: Path) -> None:
    shutil.copytree(run, folder / "run")
    words = ("--out", folder / "model.onnx", "--int8", "--max-lost-points", 20)
    result = run_earful("export", folder / "run", *words)
    assert result.exit_code == 0, result.output
    assert "INT8" in result.stdout
