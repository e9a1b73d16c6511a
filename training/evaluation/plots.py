"""Plots of an evaluation as PNG: accuracy over coverage or SNR, misses over false accepts."""

import math
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter, StrMethodFormatter

from earful.training.evaluation.confidence import ConfidenceReport
from earful.training.evaluation.false_accept_report import FalseAcceptReport, format_rate
from earful.training.evaluation.noise_robustness import NoisePoint
from earful.training.metrics.calibration import format_threshold
from earful.training.plots.long_text import TITLE_CHARACTERS, wrap
from earful.training.plots.plots import TRAINING_COLOR, VALIDATION_COLOR, save_figure


def plot_coverage(confidence: ConfidenceReport, title: str, path: Path) -> None:
    """Accuracy of accepted clips over coverage, with the model's threshold marked."""
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    curve, operating_point = confidence.curve, confidence.operating_point
    axes.plot([p.coverage for p in curve], [p.accuracy for p in curve], color=TRAINING_COLOR)
    axes.plot(
        operating_point.coverage,
        operating_point.accuracy,
        "o",
        color=VALIDATION_COLOR,
        label=f"threshold of the model, {format_threshold(operating_point.threshold)}",
    )
    lowest = min(0.9, *(p.accuracy for p in curve))
    axes.set(xlabel="coverage", ylabel="accuracy of accepted clips")
    axes.set(xlim=(0, 1.01), ylim=(lowest - 0.01, 1.005))
    axes.set_title(wrap(title, TITLE_CHARACTERS), parse_math=False)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    save_figure(figure, path)


def plot_noise(points: Sequence[NoisePoint], clean: float, title: str, path: Path) -> None:
    """Accuracy over SNR, one line per noise type; clean accuracy dotted."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for kind in dict.fromkeys(point.kind for point in points):
        line = [(p.snr_db, p.accuracy) for p in points if p.kind == kind]
        axes.plot(*zip(*line, strict=True), marker="o", label=kind)
    axes.axhline(clean, color="0.4", linestyle=":", label="clean")
    axes.set(xlabel="SNR (dB)", ylabel="accuracy", ylim=(0, 1.02))
    axes.set_title(wrap(title, TITLE_CHARACTERS), parse_math=False)
    axes.invert_xaxis()
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    save_figure(figure, path)


def plot_false_accepts(report: FalseAcceptReport, title: str, path: Path) -> None:
    """Missed clips over false accepts per hour, with the threshold in force marked."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    one_event = 1 / report.hours  # the lowest rate above 0
    curve, at_threshold = report.curve, report.at_threshold
    highest = max(one_event, *(point.per_hour for point in curve))
    axes.plot(
        [point.per_hour for point in curve],
        [point.misses for point in curve],
        color=TRAINING_COLOR,
        drawstyle="steps-pre",
    )
    threshold = format_threshold(at_threshold.threshold)
    axes.plot(
        at_threshold.per_hour,
        at_threshold.misses,
        "o",
        color=VALIDATION_COLOR,
        label=f"threshold {threshold}: {format_rate(at_threshold.per_hour)} an hour, "
        f"{100 * at_threshold.misses:.1f} % missed",
    )
    axes.set_xscale("symlog", linthresh=one_event, linscale=0.5)  # linear below, to show 0
    decades = range(math.ceil(math.log10(one_event)), math.ceil(math.log10(highest)) + 1)
    axes.set_xticks([0.0, *(10.0**power for power in decades)])
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set(
        xlabel=f"false accepts per hour (of {report.hours:.3g} hours of other sound)",
        ylabel="labelled clips missed",
    )
    axes.set(xlim=(0, 1.3 * highest), ylim=(0, 1.02))
    axes.set_title(wrap(title, TITLE_CHARACTERS), parse_math=False)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(alpha=0.3)
    axes.legend(loc="upper right")
    save_figure(figure, path)
