"""A registry with a champion trained on three tones, and new clips to retrain it with."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner, Result

from earful.data.errors import EarfulError
from earful.data.labels.clip import LabelledClips
from earful.data.labels.labels_csv import read_labels
from earful.models.registry.registry import Registry
from earful.training.cli import build_app
from earful.training.releases.register import register
from earful.training.retraining.job import RetrainJob, RetrainOutcome
from earful.training.retraining.plan import RetrainOptions
from earful.training.retraining.retrain import retrain
from tests.fixtures.built_once import built_once
from tests.fixtures.synthetic_audio import RATE_HZ, one_torch_thread, train_tones

Run = Callable[..., RetrainOutcome]
Command = Callable[..., Result]


@pytest.fixture(scope="session")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the champion's clips, dataset, run and model."""
    return built_once(tmp_path_factory, "tones", train_tones)


@pytest.fixture(scope="session")
def champion_registry(champion: Path, tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """The registry in which it is the champion, for tests that write nothing to it."""
    return Registry(
        str(built_once(tmp_path_factory, "champion", partial(register_champion, champion)))
    )


def register_champion(champion: Path, root: Path) -> None:
    register(Registry(str(root)), "tones", champion / "run", data=champion / "dataset")


@pytest.fixture
def registry(champion_registry: Registry, tmp_path: Path) -> Registry:
    """A copy of the registry for one test."""
    shutil.copytree(champion_registry.root, tmp_path / "registry")
    return Registry(str(tmp_path / "registry"))


@pytest.fixture
def new_clips(tmp_path: Path) -> Callable[..., Path]:
    """``new_clips({label: pitch_hz}, count)`` writes tones and returns their labels CSV."""

    def write(
        pitches_hz: dict[str, float], count: int = 8, name: str = "new", **columns: str
    ) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        rows = [",".join(["filename", "label", *columns])]
        generator = np.random.default_rng(11)
        time = np.arange(RATE_HZ // 2) / RATE_HZ
        for label, pitch_hz in pitches_hz.items():
            for n in range(count):
                sound = np.sin(2 * np.pi * pitch_hz * generator.uniform(0.97, 1.03) * time)
                file = f"{label}{n}.wav"
                soundfile.write(folder / file, 0.3 * sound * np.hanning(len(sound)), RATE_HZ)
                rows.append(",".join([file, label, *columns.values()]))
        (folder / "labels.csv").write_text("\n".join(rows) + "\n")
        return folder / "labels.csv"

    return write


@pytest.fixture
def run(registry: Registry, tmp_path: Path) -> Run:
    """``run(labels_csv, add_labels=True, ...)`` retrains the tones and returns the outcome."""

    def start(
        labels_csv: Path | None, *, promote: bool = True, **options: object
    ) -> RetrainOutcome:
        labelled = (
            LabelledClips((), (), frozenset()) if labels_csv is None else read_labels(labels_csv)
        )
        retrain_options = replace(RetrainOptions(epochs=8), **options)  # type: ignore[arg-type]
        work = tmp_path / "work"
        with one_torch_thread():
            job = RetrainJob(
                registry, "tones", labelled, "new.csv", retrain_options, work, promote=promote
            )
            return retrain(job)

    return start


@pytest.fixture
def command(
    registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Command]:
    """Run a command on the registry in this process; an error of ours is in ``exception``."""
    monkeypatch.setenv("EARFUL_REGISTRY", registry.root)
    monkeypatch.setenv("EARFUL_RETRAIN_DIR", str(tmp_path / "work"))

    def run_command(*words: object) -> Result:
        result = CliRunner().invoke(build_app(), [str(word) for word in words])
        if not isinstance(result.exception, SystemExit | EarfulError | None):
            raise result.exception
        return result

    with one_torch_thread():
        yield run_command
