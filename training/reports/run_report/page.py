"""Collect the facts of a run and write its HTML report."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from earful.data.atomic_write import write_text
from earful.data.dataset.dataset import Dataset
from earful.data.errors import EarfulError, command
from earful.data.features.encoder_config import feature_shape
from earful.models.networks.zoo import parameter_count
from earful.training.evaluation.confidence import ConfidenceReport
from earful.training.export.int8_figures import Int8Figures, read_int8_figures
from earful.training.export.quantize_graph import QuantizationError
from earful.training.metrics.classification import (
    ClassificationMetrics,
    top_confusions,
    wilson_interval,
)
from earful.training.metrics.multilabel import MultiLabelMetrics
from earful.training.reports.html_page import render_page
from earful.training.reports.run_report import drawings
from earful.training.reports.run_report.activation_maps import ActivationMapper
from earful.training.reports.run_report.filters import LayerFilters, report_filters
from earful.training.reports.run_report.map_pictures import MappedClips, map_clips
from earful.training.reports.run_report.predictions import (
    ClipPrediction,
    NoiseResults,
    SplitPredictions,
    measure_in_noise,
    measure_validation,
    predict_split,
    select_clips,
    split_confidence,
)
from earful.training.reports.run_report.read_run import TrainingRun, find_dataset, read_run
from earful.training.runs.metrics_file import PartMetrics
from earful.training.runs.run_dataset import resume_words
from earful.training.trainer.checkpoint import rebuild_network

RUN_REPORT_FILENAME = "report.html"
# With more labels the most frequent confusions are listed instead of the matrix.
_MAX_CONFUSION_LABELS = 30
_MAX_LISTED_CONFUSIONS = 30


@dataclass(frozen=True)
class RunReportOptions:
    """Contents of the report.

    dataset          the dataset the run was trained on; None: the one recorded in metrics.json
    clips            clips in each of the sections of errors and of least confident predictions
    max_media_bytes  total size of the embedded audio and spectrograms
    """

    dataset: Path | None = None
    clips: int = 24
    max_media_bytes: int = 8_000_000
    noise_test: bool = True
    progress: Callable[[int, int], None] = lambda done, total: None


@dataclass
class RunReportContext:
    """Values for the template besides the run; ``notes`` say what is missing and why."""

    split_name: str = ""
    metrics: PartMetrics | None = None
    validation: PartMetrics | None = None
    split_mode: str = ""
    dataset: str = ""
    mapped: MappedClips | None = None
    unmapped: str = ""
    filters: list[LayerFilters] = field(default_factory=list)
    mistakes: list[ClipPrediction] = field(default_factory=list)
    least_confident: list[ClipPrediction] = field(default_factory=list)
    confidence: ConfidenceReport | None = None
    int8: Int8Figures | None = None
    noise: NoiseResults | None = None
    notes: list[str] = field(default_factory=list)


def write_run_report(folder: Path, out: Path, options: RunReportOptions) -> list[str]:
    """Write the report of a run and return its notes.

    Raises:
        TrainingError: the folder holds no run, or a damaged one.
        RunReportError: ``options.dataset`` is not what the run was trained on.
        OutputError: ``out`` cannot be written.
    """
    run = read_run(folder)
    context = _collect_context(run, options)
    best, metrics = run.best, context.metrics
    classified = metrics if isinstance(metrics, ClassificationMetrics) else None
    page = render_page(
        "run.html",
        run=run,
        config=best.config,
        feature_shape=feature_shape(best.features, best.config.features),
        parameters=parameter_count(rebuild_network(best).network),
        seconds=sum(record.seconds for record in run.history),
        context=context,
        settings=run.settings(),
        curves=drawings.learning_curve_charts(run),
        layers=drawings.layer_charts(run),
        health=drawings.layer_health_summary(run),
        classified=classified,
        is_multi_label=isinstance(metrics, MultiLabelMetrics),
        **(_tables(classified) if classified else {}),
        confidence=drawings.confidence_charts(context.confidence, best.score_kind)
        if context.confidence
        else [],
        noise=drawings.noise_chart(context.noise) if context.noise else "",
    )
    write_text(out, page)
    return context.notes


def _collect_context(run: TrainingRun, options: RunReportOptions) -> RunReportContext:
    """The metrics of metrics.json, and predictions on the clips where the dataset is found."""
    context = RunReportContext()
    _add_int8(run, context)
    dataset, reason = find_dataset(run, options.dataset)
    if dataset is None:
        context.notes.append(f"No clips are shown: {reason}.")
    else:
        context.dataset, context.split_mode = str(dataset.folder), dataset.split_mode
    if run.metrics is not None:
        context.validation = run.metrics.validation
        context.metrics = run.metrics.test or context.validation
        context.split_name = "test" if run.metrics.test else "validation"
        context.split_mode = run.metrics.split_mode
    else:
        context.notes.append(
            f"This run is not finished: {len(run.history)} of at most {run.best.config.epochs} "
            f"epochs. Continue it with {command(*resume_words(run.folder))}. Metrics are "
            "those of the validation split; the test split is not used before the run is finished."
        )
        if dataset is not None:
            context.validation = context.metrics = measure_validation(run, dataset)
            context.split_name = "validation"
    if dataset is not None:
        _add_clips(run, dataset, context, options)
    return context


def _add_int8(run: TrainingRun, context: RunReportContext) -> None:
    try:
        context.int8 = read_int8_figures(run.folder)
    except QuantizationError as error:  # the report is useful without it
        context.notes.append(f"INT8 is not shown: {error}.")
    if context.int8 is not None and context.int8.best_epoch != run.best.best.epoch:
        again = command("export", run.folder, "--out", context.int8.filename, "--int8")
        context.notes.append(f"The INT8 model is of an earlier epoch; write it again: {again}.")
        context.int8 = None


def _add_clips(
    run: TrainingRun, dataset: Dataset, context: RunReportContext, options: RunReportOptions
) -> None:
    if not isinstance(context.metrics, ClassificationMetrics):
        return
    split = "test" if context.split_name == "test" else "val"
    predictions = predict_split(run, dataset, split)
    recorded_accuracy = context.metrics.accuracy
    if abs(predictions.accuracy - recorded_accuracy) > 0.5 / len(predictions.rows):
        context.notes.append(
            f"Predictions differ from those at the end of the run: accuracy is "
            f"{100 * predictions.accuracy:.2f} % now, {100 * recorded_accuracy:.2f} % in "
            "metrics.json."
        )
    _add_maps_and_filters(run, dataset, predictions, context, options)
    used = context.mapped.media_bytes if context.mapped else 0
    used += sum(layer.media_bytes for layer in context.filters)
    context.mistakes, context.least_confident = select_clips(
        predictions, dataset, options.clips, options.max_media_bytes - used
    )
    if run.best.calibration is not None:
        context.confidence = split_confidence(predictions, run.best.calibration.threshold)
    if options.noise_test:
        try:
            context.noise = measure_in_noise(run, dataset, split, options.progress)
        except EarfulError as error:  # the report is useful without it
            context.notes.append(f"Noise test skipped: {error}.")


def _add_maps_and_filters(
    run: TrainingRun,
    dataset: Dataset,
    predictions: SplitPredictions,
    context: RunReportContext,
    options: RunReportOptions,
) -> None:
    """Each may take a quarter of the media."""
    max_bytes = options.max_media_bytes // 4
    mapper = ActivationMapper(run.best, dataset)
    context.mapped = map_clips(mapper, predictions, dataset, options.clips, max_bytes)
    if context.mapped is None:
        context.unmapped = (
            f"There is no map of {run.best.config.model}: it is fitted, not trained by gradients."
        )
    if options.clips:
        context.filters = report_filters(run.best, dataset, predictions.rows, max_bytes)


def _tables(metrics: ClassificationMetrics) -> dict[str, Any]:
    """The tables of a classifier, by their names in the template."""
    return {
        "speakers": _speaker_rows(metrics),
        "confusion": _confusion_rows(metrics),
        "top_confusions": top_confusions(metrics.confusion, metrics.labels, _MAX_LISTED_CONFUSIONS),
    }


def _speaker_rows(metrics: ClassificationMetrics) -> list[dict[str, Any]]:
    """Speakers by ascending accuracy, with its 95 % interval (Wilson)."""
    rows = []
    for name, row in metrics.per_speaker.items():
        low, high = wilson_interval(round(row["accuracy"] * row["clips"]), int(row["clips"]))
        rows.append({"name": name, "low": low, "high": high, **row})
    return sorted(rows, key=lambda row: (row["accuracy"], -row["clips"]))


def _confusion_rows(
    metrics: ClassificationMetrics,
) -> list[tuple[str, list[tuple[str, int, float]]]]:
    """Rows of the confusion table: true label, then (predicted label, clips, share of the row)."""
    labels = metrics.labels
    if len(labels) > _MAX_CONFUSION_LABELS:
        return []
    clip_counts = [metrics.per_label[label]["clips"] for label in labels]
    return [
        (expected, [(predicted, n, n / clips) for predicted, n in zip(labels, row, strict=True)])
        for expected, row, clips in zip(labels, metrics.confusion, clip_counts, strict=True)
        if clips
    ]
