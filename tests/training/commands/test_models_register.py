"""``models register`` finds a run's own dataset, and says what a version lacks to be retrained."""

import json
import shutil
from pathlib import Path

import pytest

from earful.data.errors import EarfulError
from earful.models.registry.records import DATA_FILE
from earful.models.registry.registry import Registry
from tests.training.commands.conftest import Home, RunCommand


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(str(tmp_path / "registry"))


@pytest.mark.slow
def test_a_run_is_registered_with_its_own_dataset(
    home: Home, earful: RunCommand, registry: Registry
) -> None:
    place = ("--registry", registry.root)
    result = earful("models", "register", "tones", home.run, *place)
    assert result.exit_code == 0, result.output
    assert f"with the data of {home.dataset}" in result.stderr
    assert "note" not in result.stderr
    given = earful("models", "register", "tones", home.run, "--data", home.dataset, *place)
    assert given.exit_code == 0
    found, named = (registry.version("tones", number) for number in (1, 2))
    assert found.files[DATA_FILE] == named.files[DATA_FILE]
    assert "retraining: earful retrain tones" in earful("models", "show", "tones@1", *place).stdout
    rows = json.loads(earful("models", "list", "--json", *place).stdout)
    assert [row["retrain"] for row in rows] == ["yes", "yes"]


@pytest.mark.slow
@pytest.mark.parametrize("what", ["deleted", "another", "unnamed"])
def test_a_run_whose_dataset_cannot_be_used_is_registered_with_the_reason(
    home: Home, earful: RunCommand, registry: Registry, tmp_path: Path, what: str
) -> None:
    run, dataset = tmp_path / "run", tmp_path / "dataset"
    shutil.copytree(home.run, run)
    if what == "unnamed":
        (run / "trained_on.json").unlink()
        (run / "metrics.json").unlink()
    else:
        (run / "trained_on.json").write_text(json.dumps({"dataset": str(dataset)}))
    if what == "another":
        prepared = earful("prepare", home.labels, "--out", dataset, "--clip-seconds", 0.5)
        assert prepared.exit_code == 0, prepared.output
    result = earful("models", "register", "tones", run, "--registry", registry.root)
    assert result.exit_code == 0, result.output
    reason = {
        "deleted": f"the dataset of the run cannot be used: {dataset}",
        "another": "the model was trained on other data",
        "unnamed": "does not say what dataset it was trained on",
    }[what]
    assert reason in result.stderr
    assert (
        "cannot be retrained; register its run with `earful models register tones RUN --data"
        in (result.stderr)
    )
    assert DATA_FILE not in registry.version("tones").files
    assert [version.number for version in registry.versions("tones")] == [1]


def test_a_dataset_that_is_named_and_does_not_fit_is_an_error(
    home: Home, earful: RunCommand, registry: Registry, tmp_path: Path
) -> None:
    missing = tmp_path / "dataset"
    result = earful(
        "models", "register", "tones", home.run, "--data", missing, "--registry", registry.root
    )
    assert isinstance(result.exception, EarfulError)
    assert registry.names() == []


def test_a_model_file_says_what_it_lacks_wherever_it_is_shown(
    home: Home, earful: RunCommand, registry: Registry
) -> None:
    place = ("--registry", registry.root)
    result = earful("models", "register", "tones", home.model, *place)
    assert "is a model file, which does not name its run and data" in result.stderr
    lacks = "it has no data with it, so it cannot be retrained; register its run with"
    assert lacks in result.stderr
    assert lacks in earful("models", "show", "tones@1", *place).stdout
    shown = json.loads(earful("models", "show", "tones@1", "--json", *place).stdout)
    assert shown["retrain"] == "no: no data"
    assert shown["retraining_obstacle"].startswith(lacks)
    assert "no: no data" in earful("models", "list", *place).stdout
    with_data = earful("models", "register", "tones", home.model, "--data", home.dataset, *place)
    assert "with --from-scratch only" in with_data.stderr
    assert "from scratch" in earful("models", "list", *place).stdout
