"""A home folder of a user: tones, a dataset, a run and a model file."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from earful.data.errors import EarfulError
from earful.training.cli import build_app

RunCommand = Callable[..., Result]


@dataclass(frozen=True)
class Home:
    """Files that commands made, and what they printed."""

    labels: Path
    dataset: Path
    run: Path
    model: Path
    results: dict[str, Result]


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
def home(tones_csv: Path, earful: RunCommand, tmp_path_factory: pytest.TempPathFactory) -> Home:
    folder = tmp_path_factory.mktemp("home")
    dataset, run, model = folder / "dataset", folder / "run", folder / "model.onnx"
    quick = ("--epochs", 2, "--batch-size", 16, "--device", "cpu")
    results = {
        "prepare": earful("prepare", tones_csv, "--out", dataset, "--split", "random"),
        "train": earful("train", dataset, "--out", run, "--model", "cnn", *quick),
        "export": earful("export", run, "--out", model),
        "evaluate": earful("evaluate", model, dataset, "--out", folder / "report"),
    }
    for name, result in results.items():
        assert result.exit_code == 0, (name, result.output, result.exception)
    return Home(tones_csv, dataset, run, model, results)
