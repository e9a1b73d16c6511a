"""Charts of a run: learning curves, layer health, calibration and noise robustness."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from earful.models.bundle.decision import ScoreKind
from earful.training.evaluation.confidence import ConfidenceReport
from earful.training.plots.plots import VALIDATION, validation_label
from earful.training.reports.run_report.chart import ChartAxes, ChartLine, draw_chart
from earful.training.reports.run_report.predictions import NoiseResults
from earful.training.reports.run_report.read_run import TrainingRun
from earful.training.trainer.checkpoint import EpochRecord
from earful.training.trainer.layer_health import LayerHealth, layer_warnings, warning_key


@dataclass(frozen=True)
class LayerWarning:
    """A layer health warning, and the first and last epoch in which it applied."""

    text: str
    first_epoch: int
    last_epoch: int


@dataclass(frozen=True)
class LayerHealthSummary:
    """Layer health at the best epoch, and all warnings of the run."""

    layers: tuple[LayerHealth, ...]
    warnings: list[LayerWarning]


def learning_curve_charts(run: TrainingRun) -> list[Markup]:
    """Loss, accuracy and learning rate over epochs, with the best epoch marked."""
    best, name = run.best_epoch, f"best: epoch {run.best_epoch}"
    loss = [
        ChartLine("training", _epoch_curve(run, lambda r: r.loss)),
        ChartLine(validation_label(run.best.config), _epoch_curve(run, lambda r: r.val_loss)),
    ]
    accuracy = [
        ChartLine("training (running average)", _epoch_curve(run, lambda r: r.accuracy)),
        ChartLine(VALIDATION, _epoch_curve(run, lambda r: r.val_accuracy)),
    ]
    rates = _epoch_curve(run, lambda r: r.learning_rate)
    log = _spans_decades([rate for _, rate in rates])
    y_range = None if log else (0.0, 1.1 * max(rate for _, rate in rates) or 1.0)
    charts = [
        draw_chart(ChartAxes("loss", "epoch", log=True, mark=best, mark_name=name), loss),
        draw_chart(
            ChartAxes("accuracy", "epoch", percent=True, mark=best, mark_name=name), accuracy
        ),
        draw_chart(
            ChartAxes("learning rate", "epoch", log=log, y_range=y_range, mark=best),
            [ChartLine("", rates)],
        ),
    ]
    return [figure for figure in charts if figure]


def layer_charts(run: TrainingRun) -> list[Markup]:
    """Gradient RMS and share of dead units of every layer over epochs."""
    names = list(dict.fromkeys(layer.name for r in run.history for layer in r.layers))
    dead = [ChartLine(name, _layer_curve(run, name, lambda x: x.dead_share)) for name in names]
    gradients = [
        ChartLine(name, _layer_curve(run, name, lambda x: x.gradient_rms)) for name in names
    ]
    dead = [line for line in dead if line.points]
    gradients = [line for line in gradients if line.points]
    charts = [
        draw_chart(ChartAxes("gradient RMS", "epoch", log=True), gradients),
        draw_chart(ChartAxes("dead units", "epoch", percent=True, y_range=(0, 1)), dead),
    ]
    return [figure for figure in charts if figure]


def layer_health_summary(run: TrainingRun) -> LayerHealthSummary:
    """Layer health at the best epoch, and every warning with its first and last epoch."""
    warning_by_kind: dict[str, LayerWarning] = {}
    for record in run.history:
        for text in layer_warnings(record.layers):
            key = warning_key(text)
            first = warning_by_kind[key].first_epoch if key in warning_by_kind else record.epoch
            warning_by_kind[key] = LayerWarning(text, first, record.epoch)
    best = next((r for r in run.history if r.epoch == run.best_epoch), run.history[-1])
    return LayerHealthSummary(best.layers, list(warning_by_kind.values()))


def reliability_chart(confidence: ConfidenceReport | None, score_kind: ScoreKind) -> Markup:
    """Reliability diagram: accuracy over score.

    With sigmoid scores every (clip, label) pair counts, also labels that are not predicted.
    """
    if confidence is None:
        return Markup("")
    is_single_label = score_kind == "softmax"
    title = "accuracy by score" if is_single_label else "label frequency by score"
    axes = ChartAxes(title, "score", percent=True, x_percent=True, y_range=(0, 1), x_range=(0, 1))
    points = [(each.score, each.accuracy) for each in confidence.bins]
    measured_line = ChartLine("clips" if is_single_label else "clip-label pairs", points, dots=True)
    return draw_chart(
        axes, [measured_line, ChartLine("perfect calibration", [(0, 0), (1, 1)], dashed=True)]
    )


def coverage_chart(confidence: ConfidenceReport | None) -> Markup:
    """Accuracy of accepted clips over coverage."""
    if confidence is None:
        return Markup("")
    axes = ChartAxes(
        title="accuracy by coverage",
        x="coverage",
        percent=True,
        x_percent=True,
        x_range=(0, 1),
        mark=confidence.operating_point.coverage,
        mark_name=f"threshold {confidence.operating_point.threshold:.2f}",
    )
    return draw_chart(
        axes, [ChartLine("", [(point.coverage, point.accuracy) for point in confidence.curve])]
    )


def noise_chart(results: NoiseResults | None) -> Markup:
    """Accuracy over signal-to-noise ratio, one line per noise type; clean accuracy dashed."""
    if results is None:
        return Markup("")
    lines = [
        ChartLine(kind, [(p.snr_db, p.accuracy) for p in points], dots=True)
        for kind, points in results.rows
    ]
    snrs_db = sorted({point.snr_db for point in results.points})
    lines.append(
        ChartLine(
            "clean",
            [(snrs_db[0], results.clean_accuracy), (snrs_db[-1], results.clean_accuracy)],
            dashed=True,
        )
    )
    axes = ChartAxes("accuracy in noise", "SNR (dB)", percent=True, y_range=(0, 1))
    return draw_chart(axes, lines)


def _epoch_curve(
    run: TrainingRun, value_of: Callable[[EpochRecord], float | None]
) -> list[tuple[float, float]]:
    points = [(record.epoch, value_of(record)) for record in run.history]
    return [(epoch, value) for epoch, value in points if value is not None]


def _layer_curve(
    run: TrainingRun, name: str, value_of: Callable[[LayerHealth], float | None]
) -> list[tuple[float, float]]:
    points = [(r.epoch, value_of(x)) for r in run.history for x in r.layers if x.name == name]
    return [(epoch, value) for epoch, value in points if value is not None]


def _spans_decades(rates: Sequence[float]) -> bool:
    positive = [rate for rate in rates if rate > 0]
    return bool(positive) and max(positive) > 20 * min(positive)
