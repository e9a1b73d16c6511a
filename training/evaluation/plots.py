"""Plots of an evaluation as PNG: accuracy over coverage, accuracy over SNR."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from earful.training.evaluation.confidence import ConfidenceReport
from earful.training.evaluation.noise_robustness import NoisePoint
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
        label=f"threshold of the model, {operating_point.threshold:.2f}",
    )
    lowest = min(0.9, *(p.accuracy for p in curve))
    axes.set(xlabel="coverage", ylabel="accuracy of accepted clips")
    axes.set(xlim=(0, 1.01), ylim=(lowest - 0.01, 1.005))
    axes.set_title(title, parse_math=False)
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
    axes.set_title(title, parse_math=False)
    axes.invert_xaxis()
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    save_figure(figure, path)
