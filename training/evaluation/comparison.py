"""Networks and baselines on the same datasets: all trained, measured, exported and timed."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from earful.data.atomic_write import staged_file
from earful.data.dataset.dataset import Dataset
from earful.data.errors import EarfulError
from earful.models.bundle.device import Device
from earful.models.networks.flops import multiply_adds
from earful.models.networks.zoo import CLASSIFIERS, parameter_count
from earful.service.classifier import Classifier
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.evaluation.candidates import (
    Accuracy,
    Compared,
    Contender,
    plot_comparison,
    table,
)
from earful.training.export.export import export
from earful.training.loaders.auxiliary_data import ALONE, Company
from earful.training.runs.progress import TrainingProgress
from earful.training.runs.train_run import train_run
from earful.training.trainer.checkpoint import BEST, load_checkpoint, rebuild_network

RESULT, TABLE, PICTURE = "compare.json", "compare.md", "compare.png"
_WARM_UP_RUNS, _TIMED_RUNS = 20, 200


def compare(
    datasets: Sequence[Dataset],
    models: Sequence[str] | None,
    out: Path,
    *,
    given: dict[str, Any],
    company: Company = ALONE,
    device: Device = "auto",
    on_left_out: Callable[[str], None] = lambda why: None,
    on_run: Callable[[str, int, int, int], TrainingProgress] = (
        lambda name, number, count, epochs: TrainingProgress()
    ),
) -> list[Compared]:
    """Train every contender on every dataset, each into its own folder of ``out``.

    Without ``models`` all that there are; ``on_left_out`` hears why one of them cannot be trained.

    Finished runs are kept: the command goes on where it was stopped. ``given`` holds fields
    of ``TrainConfig`` for all that are trained by steps; each has its own defaults otherwise.
    ``on_run`` hears a run's name, number, how many there are and its epochs, and returns who hears
    of them.

    Raises:
        EarfulError: a network that does not exist, a dataset with nothing held back to test on,
            two datasets of one name, or a run that cannot be trained.
    """
    contenders = [Contender.read(text) for text in models or CLASSIFIERS]
    _check(datasets, contenders)
    contenders = _able(contenders, datasets, given, company, None if models else on_left_out)
    rows: list[Compared] = []
    for at, contender in enumerate(contenders):
        results = []
        for number, dataset in enumerate(datasets, at * len(datasets) + 1):
            run = out / contender.folder / dataset.folder.resolve().name
            config = contender.config(given, dataset)
            progress = on_run(
                f"{contender.text} on {dataset.folder}", number, len(contenders) * len(datasets),
                config.epochs,
            )  # fmt: skip
            results.append(
                train_run(
                    dataset, run, config, company=company, device=device, resume=True,
                    progress=progress,
                )
            )  # fmt: skip
        rows.append(_compared(contender, config, datasets, results, out))
        _write(rows, out)
    return rows


def _able(
    contenders: Sequence[Contender],
    datasets: Sequence[Dataset],
    given: dict[str, Any],
    company: Company,
    on_left_out: Callable[[str], None] | None,
) -> list[Contender]:
    """Those that can be trained on all datasets, as far as that is known before.

    Raises:
        EarfulError: one cannot, and nobody is to hear of it.
    """
    found = []
    for contender in contenders:
        try:
            for dataset in datasets:
                contender.check(contender.config(given, dataset), dataset, company)
        except EarfulError as error:
            if on_left_out is None:
                raise
            on_left_out(f"{contender.text} is left out: {error}")
        else:
            found.append(contender)
    return found


def _write(rows: Sequence[Compared], out: Path) -> None:
    """What is known so far: a comparison may take hours."""
    with staged_file(out / RESULT) as staging:
        staging.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", "utf-8")
    with staged_file(out / TABLE) as staging:
        staging.write_text(table(rows) + "\n", "utf-8")
    plot_comparison(rows, out / PICTURE)


def _check(datasets: Sequence[Dataset], contenders: Sequence[Contender]) -> None:
    folders = [contender.folder for contender in contenders]
    repeated = sorted({name for name in folders if folders.count(name) > 1})
    if repeated:
        raise TrainingError(f"--models names {', '.join(repeated)} twice")
    names = [dataset.folder.resolve().name for dataset in datasets]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TrainingError(f"two datasets are called {', '.join(twice)}; rename a folder")
    for dataset in datasets:
        if len(dataset.rows("test")) == 0:
            raise TrainingError(
                f"{dataset.folder} holds nothing back to test on; prepare it with --split random "
                "or --split speaker"
            )


def _compared(
    contender: Contender,
    config: TrainConfig,
    datasets: Sequence[Dataset],
    results: Sequence[dict[str, Any]],
    out: Path,
) -> Compared:
    first = datasets[0]
    run = out / contender.folder / first.folder.resolve().name
    network = rebuild_network(load_checkpoint(run / BEST)).network
    file = Path(contender.folder) / "model.onnx"
    export(run, out / file)
    return Compared(
        contender.text,
        config.features,
        parameter_count(network),
        multiply_adds(network, first.features.bins(config.features), first.features.frames),
        median_milliseconds(Classifier.open(out / file)),
        float(np.mean([result["training_seconds"] for result in results])),
        str(file),
        tuple(
            Accuracy(
                f"{dataset.folder.resolve().name} ({dataset.split_mode})",
                result["test"]["clips"],
                result["test"]["accuracy"],
                tuple(result["test"]["accuracy_ci95"]),
            )
            for dataset, result in zip(datasets, results, strict=True)
        ),
    )


def median_milliseconds(classifier: Classifier) -> float:
    """Of one clip at a time on one thread, waveform to probabilities."""
    clip = classifier.metadata.golden.input()
    seconds = []
    for number in range(_WARM_UP_RUNS + _TIMED_RUNS):
        began = time.perf_counter()
        classifier.run(clip)
        if number >= _WARM_UP_RUNS:
            seconds.append(time.perf_counter() - began)
    return 1000 * float(np.median(seconds))
