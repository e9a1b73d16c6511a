"""Learning curves, confusion matrix and learning rate test as PNG, without pyplot's globals."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from earful.data.atomic_write import staged_file
from earful.training.config.train_config import Loss, TrainConfig
from earful.training.plots.long_text import TITLE_CHARACTERS, fonts, quiet_drawing, wrap
from earful.training.trainer.checkpoint import EpochRecord
from earful.training.trainer.lr_finder import LearningRateCurve

COLORS = ("#1f6f8b", "#d1495b", "#e3a857", "#5b8c5a", "#6a4c93")
TRAINING_COLOR, VALIDATION_COLOR = COLORS[:2]
VALIDATION = "validation"
# The validation loss of focal is cross-entropy (``training.trainer.losses.comparison_loss``).
_LOSSES: dict[Loss, str] = {
    "cross-entropy": "cross-entropy (nats)",
    "focal": "focal loss; validation: cross-entropy (nats)",
    "bce": "binary cross-entropy, sum over labels (nats)",
}
_MAX_ANNOTATED_CELLS = 20 * 20
# Of text of 10 points.
_LINE_INCHES, _CHARACTER_INCHES = 0.18, 0.085
_MAX_MATRIX_INCHES = 16.0


def plot_learning_curves(history: Sequence[EpochRecord], config: TrainConfig, path: Path) -> None:
    """Write ``learning_curves`` as PNG."""
    save_figure(learning_curves(history, config), path)


def learning_curves(history: Sequence[EpochRecord], config: TrainConfig) -> Figure:
    """Loss and, for classifiers, accuracy over epochs, with the best epoch marked."""
    has_accuracy = history[0].val_accuracy is not None
    figure = Figure(figsize=(10 if has_accuracy else 5.5, 4), layout="constrained")
    panels: Any = figure.subplots(1, 1 + has_accuracy, squeeze=False)[0]
    epochs = [record.epoch for record in history]
    best = min(history, key=lambda record: record.val_loss).epoch
    losses = [r.loss for r in history], [r.val_loss for r in history]
    curves = [
        (
            _LOSSES[config.loss] if has_accuracy else "mean squared error",
            *losses,
            validation_label(config),
        ),
        ("accuracy", [r.accuracy for r in history], [r.val_accuracy for r in history], VALIDATION),
    ]
    for axes, (name, training, validation, clips) in zip(panels, curves, strict=False):
        axes.plot(epochs, training, color=TRAINING_COLOR, label="training (during the epoch)")
        axes.plot(epochs, validation, color=VALIDATION_COLOR, label=clips)
        axes.axvline(best, color="0.6", linestyle=":", label=f"best: epoch {best}")
        axes.set(xlabel="epoch", ylabel=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        axes.legend()
    _scale_losses(panels[0], [*losses[0], *losses[1]])
    if has_accuracy:
        panels[1].yaxis.set_major_formatter(PercentFormatter(1.0))
    return figure


def validation_label(config: TrainConfig) -> str:
    """The legend of the validation loss, which is on augmented clips where training augments."""
    return f"{VALIDATION}, augmented" if config.augment else VALIDATION


def _scale_losses(axes: Any, losses: Sequence[float]) -> None:
    """Set a logarithmic axis; if a loss is exactly 0, linear below the smallest positive loss."""
    min_positive = min((loss for loss in losses if loss > 0), default=None)
    if min_positive is None:
        return  # all are 0
    if min(losses) > 0:
        axes.set_yscale("log")
    else:
        axes.set_yscale("symlog", linthresh=min_positive)


def plot_confusion(
    confusion: Sequence[Sequence[int]], labels: Sequence[str], title: str, path: Path
) -> None:
    """Write a confusion matrix as PNG: rows are true labels, shaded by the share of their clips."""
    counts = np.asarray(confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = [wrap(label) for label in labels]
    n_lines = max(name.count("\n") + 1 for name in names)
    cell_inches = min(max(0.5, n_lines * _LINE_INCHES), _MAX_MATRIX_INCHES / len(labels))
    n_characters = max(len(line) for name in names for line in name.split("\n"))
    side_inches = max(4.5, cell_inches * len(labels) + 1.5 + _CHARACTER_INCHES * n_characters)
    figure = Figure(figsize=(side_inches, side_inches), layout="constrained")
    axes = figure.subplots()
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set(xlabel="predicted", ylabel="true")
    figure.suptitle(wrap(title, round(side_inches / _CHARACTER_INCHES)), parse_math=False)
    # Labels and file names may contain "$".
    style: Any = {
        "parse_math": False,
        "fontfamily": fonts(),
        "fontsize": max(4.0, min(10.0, 72 * cell_inches / (1.25 * n_lines))),
    }
    rotation = 90 if n_lines > 1 else 45 if n_characters > 2 else 0
    axes.set_xticks(range(len(labels)), names, rotation=rotation, **style)
    axes.set_yticks(range(len(labels)), names, **style)
    if counts.size <= _MAX_ANNOTATED_CELLS:
        for row, column in zip(*np.nonzero(counts), strict=True):
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", color=color)
    save_figure(figure, path, grow=True)


def plot_learning_rates(curve: LearningRateCurve, title: str, path: Path) -> None:
    """Write the loss over increasing learning rates, with the suggested one marked, as PNG."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(curve.rates, curve.losses, color="0.8", label="each step")
    axes.plot(curve.rates, curve.smoothed, color=TRAINING_COLOR, label="running mean")
    label = f"falls fastest at {curve.suggested:g}"
    axes.axvline(curve.suggested, color=VALIDATION_COLOR, linestyle=":", label=label)
    y_max = 1.5 * max(curve.smoothed[:10])
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(0, y_max))
    axes.set_title(wrap(title, TITLE_CHARACTERS), parse_math=False)
    axes.grid(alpha=0.3)
    axes.legend(loc="lower left")
    save_figure(figure, path)


def save_figure(figure: Figure, path: Path, *, grow: bool = False) -> None:
    """Write a figure as PNG, atomically; with ``grow`` as large as what is drawn in it."""
    bbox_inches = "tight" if grow else None
    FigureCanvasAgg(figure)
    with staged_file(path) as staging, quiet_drawing():
        figure.savefig(staging, format="png", dpi=120, bbox_inches=bbox_inches)
