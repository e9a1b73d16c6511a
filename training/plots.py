"""Learning curves and confusion matrix as PNG. Drawn off screen, without pyplot's global state."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from data.staging import staged_file
from training.checkpoint import EpochRecord

TRAINING_COLOUR, VALIDATION_COLOUR = "#1f6f8b", "#d1495b"
_MAX_WRITTEN_CELLS = 20 * 20


def plot_learning_curves(history: Sequence[EpochRecord], path: Path) -> None:
    """Loss and accuracy over epochs, training beside validation, the best epoch marked."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    loss, accuracy = figure.subplots(1, 2)
    epochs = [record.epoch for record in history]
    best = min(history, key=lambda record: record.val_loss).epoch
    curves = (
        (loss, "cross-entropy (nats)", [r.loss for r in history], [r.val_loss for r in history]),
        (accuracy, "accuracy", [r.accuracy for r in history], [r.val_accuracy for r in history]),
    )
    for axes, name, training, validation in curves:
        axes.plot(epochs, training, color=TRAINING_COLOUR, label="training (with dropout)")
        axes.plot(epochs, validation, color=VALIDATION_COLOUR, label="validation")
        axes.axvline(best, color="0.6", linestyle=":", label=f"best: epoch {best}")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    loss.set_yscale("log")
    accuracy.yaxis.set_major_formatter(PercentFormatter(1.0))
    _save(figure, path)


def plot_confusion(
    confusion: Sequence[Sequence[int]], labels: Sequence[str], title: str, path: Path
) -> None:
    """True labels down, predicted labels across; shade by the share of the true label."""
    counts = np.asarray(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = min(16.0, max(4.5, 0.5 * len(labels) + 2))
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true", title=title)
    axes.set_xticks(range(len(labels)), labels, rotation=45 if max(map(len, labels)) > 2 else 0)
    axes.set_yticks(range(len(labels)), labels)
    if counts.size <= _MAX_WRITTEN_CELLS:
        for row, column in zip(*np.nonzero(counts), strict=True):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour)
    _save(figure, path)


def _save(figure: Figure, path: Path) -> None:
    FigureCanvasAgg(figure)
    with staged_file(path) as staging:
        figure.savefig(staging, format="png", dpi=120)
