"""Learning curves, confusion matrix and learning rate test as PNG, without pyplot's globals."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from earful.training.config.train_config import Loss, TrainConfig
from earful.training.plots.chart import (
    COLORS,
    GRID_COLOR,
    MARK_COLOR,
    logarithmic,
    new_chart,
    over_epochs,
    percent,
    save_figure,
)
from earful.training.plots.long_text import fonts, wrap
from earful.training.trainer.checkpoint import EpochRecord
from earful.training.trainer.lr_finder import LearningRateCurve

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
    draw_losses(panels[0], history, config)
    if has_accuracy:
        draw_accuracies(panels[1], history)
    for axes in panels:
        axes.grid(color=GRID_COLOR)
        axes.legend()
    return figure


def draw_losses(axes: Any, history: Sequence[EpochRecord], config: TrainConfig) -> None:
    """Training and validation loss over epochs."""
    losses = [record.loss for record in history], [record.val_loss for record in history]
    _draw_epochs(axes, history, losses, validation_label(config))
    has_accuracy = history[0].val_accuracy is not None
    axes.set_ylabel(_LOSSES[config.loss] if has_accuracy else "mean squared error")
    _scale_losses(axes, [*losses[0], *losses[1]])


def draw_accuracies(axes: Any, history: Sequence[EpochRecord]) -> None:
    """Training and validation accuracy over epochs."""
    accuracies = [record.accuracy for record in history], [r.val_accuracy for r in history]
    _draw_epochs(axes, history, accuracies, VALIDATION)
    axes.set_ylabel("accuracy")
    percent(axes.yaxis)


def _draw_epochs(
    axes: Any,
    history: Sequence[EpochRecord],
    curves: tuple[Sequence[float | None], Sequence[float | None]],
    validation: str,
) -> None:
    epochs = [record.epoch for record in history]
    best = min(history, key=lambda record: record.val_loss).epoch
    names = "training (during the epoch)", validation
    for name, values, color in zip(names, curves, COLORS, strict=False):
        axes.plot(epochs, values, color=color, label=name, marker=point_marker(epochs))
    axes.axvline(best, color=MARK_COLOR, linestyle=":", label=f"best: epoch {best}")
    over_epochs(axes)


def point_marker(values: Sequence[object]) -> str:
    """The marker of a curve: one point alone would not be seen."""
    return "o" if len(values) == 1 else ""


def validation_label(config: TrainConfig) -> str:
    """The legend of the validation loss, which is on augmented clips where training augments."""
    return f"{VALIDATION}, augmented" if config.augment else VALIDATION


def _scale_losses(axes: Any, losses: Sequence[float]) -> None:
    """Set a logarithmic axis; if a loss is exactly 0, linear below the smallest positive loss."""
    min_positive = min((loss for loss in losses if loss > 0), default=None)
    if min_positive is None:
        return  # all are 0
    if min(losses) > 0:
        logarithmic(axes, min(losses), max(losses))
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
    figure, axes = new_chart(title, (7, 4))
    axes.plot(curve.rates, curve.losses, color="0.8", label="each step")
    axes.plot(curve.rates, curve.smoothed, color=TRAINING_COLOR, label="running mean")
    label = f"falls fastest at {curve.suggested:g}"
    axes.axvline(curve.suggested, color=VALIDATION_COLOR, linestyle=":", label=label)
    y_max = 1.5 * max(curve.smoothed[:10])
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(0, y_max))
    axes.legend(loc="lower left")
    save_figure(figure, path)
