"""Accuracy against clips a label in the training part, for the networks of ``--model auto``.

    uv run --group dev python -m tests.benchmarks.few_shot artifacts/fsdd artifacts/keywords

The datasets are those of ``tests/benchmarks/README.md``. Three tables: digits of other speakers
(each speaker is tested in turn), digits of the same speaker, keywords in five folds of speakers.
With up to 20 clips a label, a figure is the mean over ``--draws`` random choices of them.
``--trained`` adds the networks that are trained by gradient descent, with all clips only: hours.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedGroupKFold

from earful.data.dataset.dataset import Dataset, open_dataset
from earful.models.networks.zoo import zoo_entry
from earful.service.core.echo import echo
from earful.training.baselines.fit import fit_baseline
from earful.training.config.train_config import default_config
from earful.training.trainer.trainer import fit

SIZES = (1, 5, 10, 20, 50, None)  # clips a label; None: all
FITTED, TRAINED = ("logistic", "svm", "encoder"), ("tcresnet", "encoder-finetuned")
MAX_DRAWN = 20
Rows = NDArray[np.int64]
Task = Callable[[Dataset], Iterator[tuple[Rows, Rows]]]  # training and test rows


def main(
    digits: Annotated[Path, typer.Argument(help="Dataset of FSDD.")],
    keywords: Annotated[Path, typer.Argument(help="Dataset of the keywords.")],
    draws: Annotated[int, typer.Option(help="Random choices of the clips.")] = 3,
    trained: Annotated[bool, typer.Option("--trained")] = False,
) -> None:
    fsdd = open_dataset(digits)
    for title, dataset, task in (
        ("digits, other speakers", fsdd, other_speakers),
        ("digits, the same speaker", fsdd, same_speaker),
        ("keywords, other speakers", open_dataset(keywords), folds),
    ):
        print_table(title, dataset, task, draws, (*FITTED, *(TRAINED if trained else ())))


def print_table(
    title: str, dataset: Dataset, task: Task, draws: int, networks: tuple[str, ...]
) -> None:
    echo(f"\n| {title} | {' | '.join(str(size or 'all') for size in SIZES)} |")
    echo("|---" * (len(SIZES) + 1) + "|")
    for model in networks:
        cells = []
        for size in SIZES:
            skipped = size is not None and not zoo_entry(model).fitted
            cells.append(
                "" if skipped else f"{100 * mean_accuracy(dataset, task, model, size, draws):.1f}"
            )
        echo(f"| `{model}` | {' | '.join(cells)} |")


def mean_accuracy(dataset: Dataset, task: Task, model: str, size: int | None, draws: int) -> float:
    """The mean over folds and draws."""
    n_draws = draws if size is not None and size <= MAX_DRAWN else 1
    return float(
        np.mean(
            [
                accuracy(dataset, draw(dataset, train, size, seed), test, model)
                for seed in range(n_draws)
                for train, test in task(dataset)
            ]
        )
    )


def accuracy(dataset: Dataset, train: Rows, test: Rows, model: str) -> float:
    """Test accuracy; the test clips stand where validation clips would, and choose nothing.

    A network that is trained in epochs stops at its last one.
    """
    splits = np.full(len(dataset.clips), "unused", object)
    splits[train], splits[test] = "train", "val"
    view = replace(dataset, clips=dataset.clips.assign(split=splits))
    config = default_config(model)
    with tempfile.TemporaryDirectory() as folder:
        run = fit_baseline if zoo_entry(model).fitted else fit
        history = run(view, Path(folder) / "run", config).checkpoint.history
    return float(history[-1].val_accuracy or 0.0)


def draw(dataset: Dataset, rows: Rows, size: int | None, seed: int) -> Rows:
    """At most ``size`` rows of each label."""
    if size is None:
        return rows
    shuffled = np.random.default_rng(seed).permutation(rows)
    targets = dataset.targets[shuffled]
    return np.concatenate([shuffled[targets == label][:size] for label in np.unique(targets)])


def other_speakers(dataset: Dataset) -> Iterator[tuple[Rows, Rows]]:
    speakers = dataset.clips["speaker"].to_numpy()
    for speaker in np.unique(speakers):
        yield np.flatnonzero(speakers != speaker), np.flatnonzero(speakers == speaker)


def same_speaker(dataset: Dataset) -> Iterator[tuple[Rows, Rows]]:
    """Half of a speaker's clips for training, the others for the test."""
    speakers = dataset.clips["speaker"].to_numpy()
    for speaker in np.unique(speakers):
        rows = np.random.default_rng(0).permutation(np.flatnonzero(speakers == speaker))
        yield rows[::2], rows[1::2]


def folds(dataset: Dataset) -> Iterator[tuple[Rows, Rows]]:
    speakers = dataset.clips["speaker"].tolist()
    groups = [speaker or f"clip {row}" for row, speaker in enumerate(speakers)]
    splitter = StratifiedGroupKFold(n_splits=5, shuffle=True, random_state=0)
    yield from splitter.split(groups, dataset.targets, groups)


if __name__ == "__main__":
    typer.run(main)
