"""All networks on the same datasets, in one table: accuracy, size, work and time."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data.dataset import Dataset
from data.staging import staged_file
from models.cost import multiply_adds
from models.device import Device
from models.zoo import build, parameter_count, require_classifier
from service.classifier import Classifier
from training.company import ALONE, Company
from training.config import TrainingError, default_config
from training.export import export
from training.progress import TrainingProgress
from training.run import choose_config, train_run

RESULT, TABLE = "compare.json", "compare.md"
_WARM_UP_RUNS, _TIMED_RUNS = 20, 200


@dataclass(frozen=True)
class Accuracy:
    """Of one network on the test part of one dataset, with its 95 % interval (Wilson)."""

    dataset: str
    clips: int
    accuracy: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Compared:
    """One network. ``milliseconds`` is for one clip, waveform to probabilities, on one thread."""

    model: str
    features: str
    parameters: int
    multiply_adds: int
    milliseconds: float
    training_seconds: float
    accuracies: tuple[Accuracy, ...]


def compare(
    datasets: Sequence[Dataset],
    models: Sequence[str],
    out: Path,
    *,
    given: dict[str, Any],
    company: Company = ALONE,
    device: Device = "auto",
    on_run: Callable[[str, int, int, int], TrainingProgress] = (
        lambda name, number, count, epochs: TrainingProgress()
    ),
) -> list[Compared]:
    """Train every network on every dataset, each into its own folder of ``out``.

    Finished runs are kept: the command goes on where it was stopped. ``given`` holds fields
    of ``TrainConfig`` for all networks; each has its own defaults otherwise. ``on_run`` hears
    a run's name, number, how many there are and its epochs, and returns who hears of them.

    Raises:
        EarshotError: a network that does not exist, a dataset with nothing held back to test on,
            two datasets of one name, or a run that cannot be trained.
    """
    _check(datasets, models)
    rows = []
    for at, model in enumerate(models):
        results = []
        for number, dataset in enumerate(datasets, at * len(datasets) + 1):
            run = out / model / dataset.folder.resolve().name
            config = choose_config(run, {**given, "model": model}, resume=True)
            progress = on_run(
                f"{model} on {dataset.folder}", number, len(models) * len(datasets), config.epochs
            )
            results.append(
                train_run(
                    dataset, run, config, company=company, device=device, resume=True,
                    progress=progress,
                )
            )  # fmt: skip
        rows.append(_compared(model, datasets, results, out / model))
    with staged_file(out / RESULT) as staging:
        staging.write_text(json.dumps([asdict(row) for row in rows], indent=2) + "\n", "utf-8")
    with staged_file(out / TABLE) as staging:
        staging.write_text(table(rows) + "\n", "utf-8")
    return rows


def table(rows: Sequence[Compared]) -> str:
    """The networks as a Markdown table."""
    names = [found.dataset for found in rows[0].accuracies]
    heads = ["network", "input", "parameters", "multiply-adds", "ms a clip", *names]
    lines = [heads, ["---"] * len(heads)]
    for row in rows:
        accuracies = [
            f"{100 * a.accuracy:.1f} % ({100 * a.interval[0]:.1f} to {100 * a.interval[1]:.1f})"
            for a in row.accuracies
        ]
        lines.append(
            [
                f"`{row.model}`", row.features, f"{row.parameters:,}",
                f"{row.multiply_adds / 1e6:.1f} M", f"{row.milliseconds:.2f}", *accuracies,
            ]
        )  # fmt: skip
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _check(datasets: Sequence[Dataset], models: Sequence[str]) -> None:
    for model in models:
        require_classifier(model)
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
    model: str, datasets: Sequence[Dataset], results: Sequence[dict[str, Any]], runs: Path
) -> Compared:
    first, config = datasets[0], default_config(model)
    kind = results[0]["features"]
    size = (first.features.bins(kind), first.features.frames)
    network = build(model, *size, len(first.labels), config.options)
    file = runs / "model.onnx"
    export(runs / first.folder.resolve().name, file)
    return Compared(
        model,
        kind,
        parameter_count(network),
        multiply_adds(network, *size),
        median_milliseconds(Classifier.open(file)),
        float(np.mean([result["training_seconds"] for result in results])),
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
