"""Learning curves name the training loss and show all its values."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from earful.training.config.train_config import Loss, TrainConfig
from earful.training.plots.plots import learning_curves, plot_learning_curves
from earful.training.trainer.checkpoint import EpochRecord


def history(losses: Sequence[float], accuracy: float | None = 0.5) -> list[EpochRecord]:
    return [
        EpochRecord(n, loss, accuracy, loss, accuracy, 1.0, 1e-3) for n, loss in enumerate(losses)
    ]


@pytest.mark.parametrize(
    ("loss", "accuracy", "name"),
    [
        ("cross-entropy", 0.5, "cross-entropy (nats)"),
        ("focal", 0.5, "focal loss; validation: cross-entropy (nats)"),
        ("bce", 0.5, "binary cross-entropy, sum over labels (nats)"),
        ("cross-entropy", None, "mean squared error"),
    ],
)
def test_the_axis_names_the_loss(loss: Loss, accuracy: float | None, name: str) -> None:
    panels = learning_curves(history([1.0, 0.5], accuracy), TrainConfig(loss=loss)).axes
    assert panels[0].get_ylabel() == name
    assert len(panels) == (1 if accuracy is None else 2)


@pytest.mark.parametrize(
    ("losses", "scale"),
    [([1.0, 0.1], "log"), ([1.0, 0.1, 0.0], "symlog"), ([0.0], "linear"), ([0.0, 0.0], "linear")],
)
def test_loss_of_exactly_zero_is_plotted_without_a_warning(
    losses: list[float], scale: str, tmp_path: Path
) -> None:
    plot_learning_curves(history(losses), TrainConfig(loss="bce"), tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
    axes = learning_curves(history(losses), TrainConfig(loss="bce")).axes[0]
    assert axes.get_yscale() == scale
    low, high = axes.get_ylim()
    assert low <= min(losses) <= max(losses) <= high


@pytest.mark.parametrize(
    ("augment", "clips"), [(True, "validation, augmented"), (False, "validation")]
)
def test_validation_loss_on_augmented_clips_is_labelled_as_such(augment: bool, clips: str) -> None:
    panels = learning_curves(history([1.0, 0.5]), TrainConfig(augment=augment)).axes
    legends = [[text.get_text() for text in axes.get_legend().get_texts()] for axes in panels]
    assert [legend[1] for legend in legends] == [clips, "validation"]
