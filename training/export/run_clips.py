"""The clips of a run's dataset that an export is checked and calibrated with."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earful.data.dataset.dataset import Dataset, open_dataset
from earful.training.export.export import ExportError
from earful.training.export.quantize_graph import QuantizationError
from earful.training.runs.run_dataset import read_run_dataset

# More change neither the ranges nor the accuracy.
_CALIBRATION_CLIPS = 512


def open_run_dataset(run: Path, folder: Path | None, content_hash: str) -> Dataset:
    """The dataset of this hash that a run was trained on; None: the folder that the run names.

    Raises:
        ExportError: it is missing, another one, or has no validation clips.
        DatasetError: it is damaged.
    """
    folder = folder or read_run_dataset(run)
    if folder is None or not folder.is_dir():
        raise ExportError(
            "the exported model is checked with the clips of the run's dataset, and "
            f"{folder or 'its folder'} is missing; give it with --data DATASET"
        )
    dataset = open_dataset(folder)
    if dataset.content_hash != content_hash:
        raise ExportError(
            f"{folder} is another dataset than that of {run}, or was changed since; give the "
            "dataset of the run with --data"
        )
    if len(dataset.rows("val")) == 0:
        raise ExportError(
            "the dataset has no validation clips to check the exported model with; prepare it "
            "with a split that has some"
        )
    return dataset


def calibration_rows(dataset: Dataset) -> NDArray[np.int64]:
    """Rows of at most some 512 training clips, at least one of each label.

    Labels have as many as in the training part, in proportion; theirs are spread evenly.

    Raises:
        QuantizationError: a label has no training clip.
    """
    rows = dataset.rows("train")
    labels = dataset.label_matrix[rows]
    by_label = [rows[labels[:, number]] for number in range(labels.shape[1])]
    missing = [
        name for name, of_label in zip(dataset.labels, by_label, strict=True) if len(of_label) == 0
    ]
    if missing:
        raise QuantizationError(
            f"the dataset has no training clip of {', '.join(map(repr, missing))} to find its "
            "range with; prepare it with clips of every label"
        )
    if len(rows) <= _CALIBRATION_CLIPS:
        return rows
    share = _CALIBRATION_CLIPS / labels.sum()
    return np.unique(np.concatenate([_spread(part, share) for part in by_label]))


def _spread(rows: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """A share of the rows, one or more, at even distances."""
    count = max(1, round(share * len(rows)))
    return rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]
