"""``earful compare``: train, test, export and time networks on the same datasets."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from earful.data.atomic_write import write_json, write_text
from earful.data.dataset.dataset import Dataset
from earful.data.errors import EarfulError
from earful.data.features.encoder_config import feature_shape
from earful.models.bundle.device import TrainingDevice
from earful.models.networks.flops import multiply_adds
from earful.models.networks.zoo import CLASSIFIER_NETWORKS, parameter_count
from earful.service.classifier import Classifier
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.evaluation.candidates import (
    Candidate,
    ComparisonRow,
    DatasetAccuracy,
    comparison_table,
    plot_comparison,
)
from earful.training.export.export import export
from earful.training.export.int8 import export_int8
from earful.training.export.quantize_graph import QuantizationError
from earful.training.loaders.auxiliary_data import NO_AUXILIARY_DATA, AuxiliaryData
from earful.training.metrics.classification import ClassificationMetrics
from earful.training.metrics.latency import median_latency_ms
from earful.training.metrics.paired_accuracy import PairedAccuracy
from earful.training.runs.metrics_file import RunMetrics
from earful.training.runs.progress import TrainingProgress
from earful.training.runs.train_run import train_run
from earful.training.trainer.checkpoint import BEST_CHECKPOINT, load_checkpoint, rebuild_network

RESULT_FILENAME, TABLE_FILENAME, PLOT_FILENAME = "compare.json", "compare.md", "compare.png"
INT8_MODEL = "int8.onnx"


def compare(
    datasets: Sequence[Dataset],
    models: Sequence[str] | None,
    out: Path,
    *,
    overrides: dict[str, Any],
    auxiliary: AuxiliaryData = NO_AUXILIARY_DATA,
    device: TrainingDevice = "auto",
    int8: bool = False,
    on_skipped: Callable[[str], None] = lambda reason: None,
    on_run: Callable[[str, int, int, int], TrainingProgress] = (
        lambda name, number, count, epochs: TrainingProgress()
    ),
) -> list[ComparisonRow]:
    """Train every candidate on every dataset, each in its own folder of ``out``.

    Finished runs are reused, so an interrupted comparison resumes.

    models      candidates; None: all classification networks that can be trained
    overrides   fields of ``TrainConfig`` for networks trained with gradient descent
    int8        also a row for the INT8 version of each network
    on_skipped  called with the reason when one of all networks cannot be trained, or when an INT8
                version is not possible or loses too much
    on_run      called with (name, number, number of runs, epochs); returns the run's progress

    Raises:
        EarfulError: unknown network, dataset without test clips, two datasets of one name, or a
            run that cannot be trained.
    """
    candidates = [Candidate.parse(text) for text in models or CLASSIFIER_NETWORKS]
    _check(datasets, candidates)
    candidates = _trainable(
        candidates, datasets, overrides, auxiliary, None if models else on_skipped
    )
    rows: list[ComparisonRow] = []
    for index, candidate in enumerate(candidates):
        results = []
        for number, dataset in enumerate(datasets, index * len(datasets) + 1):
            run = out / candidate.folder / dataset.folder.resolve().name
            config = candidate.config(overrides, dataset)
            name, n_runs = f"{candidate.text} on {dataset.folder}", len(candidates) * len(datasets)
            metrics = train_run(
                dataset,
                run,
                config,
                auxiliary=auxiliary,
                device=device,
                resume=True,
                progress=on_run(name, number, n_runs, config.epochs),
            )
            results.append(cast("RunMetrics", metrics))  # there is one process
        rows.append(_comparison_row(candidate, config, datasets, results, out))
        _write(rows, out)
        if int8:
            try:
                rows.append(_int8_row(rows[-1], candidate, datasets, out))
            except QuantizationError as error:
                on_skipped(f"INT8 of {candidate.text} is skipped: {error}")
            else:
                _write(rows, out)
    return rows


def _trainable(
    candidates: Sequence[Candidate],
    datasets: Sequence[Dataset],
    overrides: dict[str, Any],
    auxiliary: AuxiliaryData,
    on_skipped: Callable[[str], None] | None,
) -> list[Candidate]:
    """Candidates that pass ``Candidate.check`` on all datasets.

    Raises:
        EarfulError: one does not, and ``on_skipped`` is None.
    """
    trainable = []
    for candidate in candidates:
        try:
            for dataset in datasets:
                candidate.check(candidate.config(overrides, dataset), dataset, auxiliary)
        except EarfulError as error:
            if on_skipped is None:
                raise
            on_skipped(f"{candidate.text} is skipped: {error}")
        else:
            trainable.append(candidate)
    return trainable


def _write(rows: Sequence[ComparisonRow], out: Path) -> None:
    """Write the results so far: a comparison may take hours."""
    write_json(out / RESULT_FILENAME, [asdict(row) for row in rows])
    write_text(out / TABLE_FILENAME, comparison_table(rows) + "\n")
    plot_comparison(rows, out / PLOT_FILENAME)


def _check(datasets: Sequence[Dataset], candidates: Sequence[Candidate]) -> None:
    folders = [candidate.folder for candidate in candidates]
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
                f"{dataset.folder} has no test clips; prepare it with --split random or "
                "--split speaker"
            )


def _comparison_row(
    candidate: Candidate,
    config: TrainConfig,
    datasets: Sequence[Dataset],
    results: Sequence[RunMetrics],
    out: Path,
) -> ComparisonRow:
    first = datasets[0]
    run = out / candidate.folder / first.folder.resolve().name
    network = rebuild_network(load_checkpoint(run / BEST_CHECKPOINT)).network
    file = Path(candidate.folder) / "model.onnx"
    exported = export(run, out / file)
    return ComparisonRow(
        model=candidate.text,
        precision="float32",
        features=config.features,
        parameters=parameter_count(network),
        multiply_adds=multiply_adds(network, *feature_shape(first.features, config.features)),
        size_bytes=exported.size_bytes,
        latency_ms=median_latency_ms(Classifier.open(out / file)),
        training_seconds=float(np.mean([result.training_seconds for result in results])),
        file=str(file),
        accuracies=tuple(
            _dataset_accuracy(dataset, result.test_of_classifier)
            for dataset, result in zip(datasets, results, strict=True)
        ),
    )


def _int8_row(
    row: ComparisonRow, candidate: Candidate, datasets: Sequence[Dataset], out: Path
) -> ComparisonRow:
    """The INT8 version of each run, in the run's folder; the first one's size and latency.

    Raises:
        QuantizationError: one of them cannot be quantised, or loses too much.
    """
    runs = [Path(candidate.folder) / dataset.folder.resolve().name for dataset in datasets]
    files = [run / INT8_MODEL for run in runs]
    figures = [
        export_int8(out / run, out / file, dataset.folder).figures
        for run, file, dataset in zip(runs, files, datasets, strict=True)
    ]
    return replace(
        row,
        precision="int8",
        size_bytes=figures[0].size_bytes,
        latency_ms=figures[0].latency_ms,
        file=str(files[0]),
        accuracies=tuple(
            _int8_accuracy(result, found.test)
            for result, found in zip(row.accuracies, figures, strict=True)
        ),
    )


def _int8_accuracy(result: DatasetAccuracy, test: PairedAccuracy | None) -> DatasetAccuracy:
    if test is None:
        raise AssertionError("every dataset has test clips (_check), and every run is finished")
    return replace(result, accuracy=test.accuracy, accuracy_ci95=test.accuracy_ci95)


def _dataset_accuracy(dataset: Dataset, test: ClassificationMetrics) -> DatasetAccuracy:
    return DatasetAccuracy(
        dataset=f"{dataset.folder.resolve().name} ({dataset.split_mode})",
        clips=test.clips,
        accuracy=test.accuracy,
        accuracy_ci95=test.accuracy_ci95,
    )
