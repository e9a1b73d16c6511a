"""Whether a TFLite file scores as the ONNX file of the same run does, on real clips."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earful.data.dataset.dataset import Dataset
from earful.service.classifier import Classifier
from earful.training.export.export import PARITY_TOLERANCE
from earful.training.export.tflite.convert import TESTED_NETWORKS
from earful.training.export.tflite.graphs import ExportGraph
from earful.training.export.tflite.micro_model import MicroModel
from earful.training.export.tflite.tflite_error import TfliteError
from earful.training.export.tflite.tflite_model import TfliteModel
from earful.training.metrics.paired_accuracy import PairedAccuracy, are_correct

_BATCH = 256


@dataclass(frozen=True)
class Parity:
    """Two models on the validation clips: how many are correct, and how far scores differ.

    ``runtime`` is what runs the TFLite file.
    """

    runtime: str
    accuracy: PairedAccuracy
    max_difference: float


def compare(
    onnx_model: Classifier,
    tflite_model: TfliteModel | MicroModel,
    graph: ExportGraph,
    dataset: Dataset,
) -> Parity:
    """Run both models on the validation clips of a dataset, which has some."""
    rows = dataset.rows("val")
    score_kind = onnx_model.metadata.score_kind
    correct: tuple[list[NDArray[np.bool_]], ...] = ([], [])
    max_difference = 0.0
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        waveforms = dataset.waveforms(batch)
        both = onnx_model.run(waveforms), tflite_model.scores(graph.inputs(waveforms))
        difference = np.abs(both[0] - both[1]).max()
        max_difference = float(np.maximum(max_difference, difference))  # NaN stays NaN
        for found, scores in zip(correct, both, strict=True):
            found.append(are_correct(scores, score_kind, dataset.label_matrix[batch]))
    before, after = map(np.concatenate, correct)
    return Parity(tflite_model.runtime, PairedAccuracy.of(before, after), max_difference)


def check_parity(parity: Parity) -> None:
    """Refuse a float32 model whose scores differ from those of the ONNX file.

    Raises:
        TfliteError: by more than 1e-4.
    """
    if not parity.max_difference <= PARITY_TOLERANCE:
        raise TfliteError(
            f"{parity.runtime} and ONNX Runtime differ by {parity.max_difference:.2g} on "
            f"{parity.accuracy.clips} validation clips (at most {PARITY_TOLERANCE:g} is "
            "allowed); nothing was written. Check the version of litert-torch against uv.lock, or "
            f"train a network that is tested: {', '.join(TESTED_NETWORKS)}"
        )
