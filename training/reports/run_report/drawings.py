"""Charts of a run: learning curves, layer health, calibration and noise robustness."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from earful.models.bundle.decision import ScoreKind
from earful.training.evaluation.confidence import ConfidenceReport
from earful.training.evaluation.plots import draw_coverage, draw_noise
from earful.training.plots.chart import (
    MARK_COLOR,
    inline_svg,
    logarithmic,
    new_chart,
    over_epochs,
    percent,
)
from earful.training.plots.long_text import middle_ellipsis
from earful.training.plots.plots import draw_accuracies, draw_losses, point_marker
from earful.training.reports.run_report.predictions import NoiseResults
from earful.training.reports.run_report.read_run import TrainingRun
from earful.training.trainer.layer_health import LayerHealth, layer_warnings, warning_key

# About 300 by 200 pixels, the least width of a chart on the page.
_INCHES, _LEGEND_ROW_INCHES = (4.2, 2.7), 0.21
_LEGEND_CHARACTERS = 56
# The name of a layer, and its values by epoch.
LayerCurve = tuple[str, list[tuple[int, float]]]


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
    charts = [page_chart("loss", lambda axes: draw_losses(axes, run.history, run.best.config))]
    if run.history[0].val_accuracy is not None:
        charts.append(page_chart("accuracy", lambda axes: draw_accuracies(axes, run.history)))
    return [*charts, page_chart("learning rate", lambda axes: _draw_rates(axes, run))]


def layer_charts(run: TrainingRun) -> list[Markup]:
    """Gradient RMS and share of dead units of every layer over epochs."""
    gradients = _layer_curves(run, lambda layer: layer.gradient_rms)
    dead = _layer_curves(run, lambda layer: layer.dead_share)
    charts = []
    if gradients:
        charts.append(page_chart("gradient RMS", lambda axes: _draw_gradients(axes, gradients)))
    if dead:
        charts.append(page_chart("dead units", lambda axes: _draw_dead(axes, dead)))
    return charts


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


def confidence_charts(confidence: ConfidenceReport, score_kind: ScoreKind) -> list[Markup]:
    """Accuracy over score (a reliability diagram), and of accepted clips over coverage.

    With sigmoid scores every (clip, label) pair counts, also labels that are not predicted.
    """
    measured = "accuracy" if score_kind == "softmax" else "label frequency"

    def draw_reliability(axes: Any) -> None:
        name = "clips" if score_kind == "softmax" else "clip-label pairs"
        scores, accuracies = zip(*((b.score, b.accuracy) for b in confidence.bins), strict=True)
        axes.plot(scores, accuracies, marker="o", label=name)
        axes.plot([0, 1], [0, 1], linestyle="--", label="perfect calibration")
        axes.set(xlabel="score", ylabel=measured, xlim=(0, 1.01), ylim=(0, 1.02))
        percent(axes.xaxis, axes.yaxis)

    return [
        page_chart(f"{measured} by score", draw_reliability),
        page_chart("accuracy by coverage", lambda axes: draw_coverage(axes, confidence)),
    ]


def noise_chart(results: NoiseResults) -> Markup:
    """Accuracy over signal-to-noise ratio, one line per noise type; clean accuracy dotted."""

    def draw(axes: Any) -> None:
        draw_noise(axes, results.points, results.clean_accuracy)

    return page_chart("accuracy in noise", draw)


def page_chart(title: str, draw: Callable[[Any], None]) -> Markup:
    """A chart as HTML figure, with the legend below it."""
    figure, axes = new_chart(inches=_INCHES)
    draw(axes)
    handles, labels = axes.get_legend_handles_labels()
    if labels:
        names = [middle_ellipsis(label, _LEGEND_CHARACTERS) for label in labels]
        longest = max(map(len, names))
        columns = 3 if longest < 10 else 2 if longest < 30 else 1
        rows = -(-len(names) // columns)
        figure.set_figheight(_INCHES[1] + _LEGEND_ROW_INCHES * rows)
        figure.legend(handles, names, loc="outside lower left", ncols=columns, frameon=False)
    return Markup("<figure><figcaption>{}</figcaption>{}</figure>").format(
        title, inline_svg(figure, f"{title} over {axes.get_xlabel()}")
    )


def _draw_rates(axes: Any, run: TrainingRun) -> None:
    epochs, rates = [r.epoch for r in run.history], [r.learning_rate for r in run.history]
    _draw_over_epochs(axes, [("", list(zip(epochs, rates, strict=True)))])
    axes.axvline(run.best_epoch, color=MARK_COLOR, linestyle=":")
    axes.set_ylabel("learning rate")
    lowest, highest = min(filter(None, rates), default=0.0), max(rates)
    if highest > 20 * lowest > 0:
        logarithmic(axes, lowest, highest)
    else:
        axes.set_ylim(0, 1.1 * highest or 1.0)


def _draw_gradients(axes: Any, curves: Sequence[LayerCurve]) -> None:
    _draw_over_epochs(axes, curves)
    axes.set_ylabel("gradient RMS")
    positive = [value for _, points in curves for _, value in points if value > 0]
    if positive:
        logarithmic(axes, min(positive), max(positive))


def _draw_dead(axes: Any, curves: Sequence[LayerCurve]) -> None:
    _draw_over_epochs(axes, curves)
    axes.set(ylabel="share of the units", ylim=(-0.02, 1.02))
    percent(axes.yaxis)


def _draw_over_epochs(axes: Any, curves: Sequence[LayerCurve]) -> None:
    for name, points in curves:
        axes.plot(*zip(*points, strict=True), label=name, marker=point_marker(points))
    over_epochs(axes)


def _layer_curves(
    run: TrainingRun, value_of: Callable[[LayerHealth], float | None]
) -> list[LayerCurve]:
    """The points of each layer that has any."""
    curves: dict[str, list[tuple[int, float]]] = {}
    for record in run.history:
        for layer in record.layers:
            value = value_of(layer)
            if value is not None:
                curves.setdefault(layer.name, []).append((record.epoch, value))
    return list(curves.items())
