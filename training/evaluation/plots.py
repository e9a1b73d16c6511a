"""Plots of an evaluation as PNG: accuracy over coverage or SNR, misses over false accepts."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from earful.training.evaluation.confidence import ConfidenceReport
from earful.training.evaluation.false_accept_report import FalseAcceptReport, format_rate
from earful.training.evaluation.noise_robustness import NoisePoint, points_by_kind
from earful.training.metrics.calibration import format_threshold
from earful.training.plots.chart import MARK_COLOR, new_chart, percent, save_figure


def plot_coverage(confidence: ConfidenceReport, title: str, path: Path) -> None:
    """Write ``draw_coverage`` as PNG."""
    figure, axes = new_chart(title, (6, 4))
    draw_coverage(axes, confidence)
    axes.legend(loc="lower left")
    save_figure(figure, path)


def draw_coverage(axes: Any, confidence: ConfidenceReport) -> None:
    """Accuracy of accepted clips over coverage, with the model's threshold marked."""
    curve, chosen = confidence.curve, confidence.operating_point
    axes.plot([p.coverage for p in curve], [p.accuracy for p in curve])
    threshold = f"threshold of the model, {format_threshold(chosen.threshold)}"
    axes.plot(chosen.coverage, chosen.accuracy, "o", label=threshold)
    lowest = min(0.9, *(p.accuracy for p in curve))
    axes.set(xlabel="coverage", ylabel="accuracy of accepted clips")
    axes.set(xlim=(0, 1.01), ylim=(lowest - 0.01, 1.005))
    percent(axes.xaxis, axes.yaxis)


def plot_noise(points: Sequence[NoisePoint], clean: float, title: str, path: Path) -> None:
    """Write ``draw_noise`` as PNG."""
    figure, axes = new_chart(title)
    draw_noise(axes, points, clean)
    axes.legend()
    save_figure(figure, path)


def draw_noise(axes: Any, points: Sequence[NoisePoint], clean: float) -> None:
    """Accuracy over SNR, one line per noise type; clean accuracy dotted."""
    for kind, line in points_by_kind(points):
        axes.plot([p.snr_db for p in line], [p.accuracy for p in line], marker="o", label=kind)
    axes.axhline(clean, color=MARK_COLOR, linestyle=":", label="clean")
    axes.set(xlabel="SNR (dB)", ylabel="accuracy", ylim=(0, 1.02))
    axes.invert_xaxis()
    percent(axes.yaxis)


def plot_false_accepts(report: FalseAcceptReport, title: str, path: Path) -> None:
    """Missed clips over false accepts per hour, with the threshold in force marked."""
    figure, axes = new_chart(title)
    one_event = 1 / report.hours  # the lowest rate above 0
    curve, chosen = report.curve, report.at_threshold
    rates = [point.per_hour for point in curve]
    axes.plot(rates, [point.misses for point in curve], drawstyle="steps-pre")
    label = (
        f"threshold {format_threshold(chosen.threshold)}: {format_rate(chosen.per_hour)} an hour, "
        f"{100 * chosen.misses:.1f} % missed"
    )
    axes.plot(chosen.per_hour, chosen.misses, "o", label=label)
    axes.set_xscale("symlog", linthresh=one_event, linscale=0.5)  # linear below, to show 0
    highest = max(one_event, *rates)
    decades = range(math.ceil(math.log10(one_event)), math.ceil(math.log10(highest)) + 1)
    axes.set_xticks([0.0, *(10.0**power for power in decades)])
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(
        xlabel=f"false accepts per hour (of {report.hours:.3g} hours of other sound)",
        ylabel="labelled clips missed",
    )
    axes.set(xlim=(0, 1.3 * highest), ylim=(0, 1.02))
    percent(axes.yaxis)
    axes.legend(loc="upper right")
    save_figure(figure, path)
