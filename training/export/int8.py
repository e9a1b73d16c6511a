"""``earful export --int8``: a run as a smaller and faster model, if it stays as accurate.

run -> float model -> ranges on training clips -> INT8 model -> both on validation clips -> file
"""

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray

from earful.data.atomic_write import staged_file
from earful.data.dataset.dataset import Dataset, open_dataset
from earful.models.bundle.bundle import open_bundle, open_session
from earful.models.bundle.decision import predicted_label_mask
from earful.models.bundle.metadata import GoldenExample, ModelMetadata
from earful.models.bundle.quantization import Quantization
from earful.models.bundle.session_calls import run_session
from earful.service.classifier import Classifier
from earful.training.export.export import export
from earful.training.export.quantize_graph import QuantizationError, quantize_graph
from earful.training.metrics.classification import paired_p_value
from earful.training.metrics.latency import median_latency_ms
from earful.training.runs.run_dataset import read_run_dataset

# More change neither the ranges nor the accuracy.
_CALIBRATION_CLIPS = 512
_BATCH = 256
_SIGNIFICANCE = 0.05
MAX_LOST_POINTS = 0.5


@dataclass(frozen=True)
class Int8Export:
    """The INT8 file beside the float one of the same run; times are of one clip on one thread."""

    path: Path
    metadata: ModelMetadata
    quantization: Quantization
    size_bytes: int
    float_size_bytes: int
    latency_ms: float
    float_latency_ms: float


def export_int8(
    run: Path, out: Path, dataset: Path | None = None, max_lost_points: float = MAX_LOST_POINTS
) -> Int8Export:
    """Export the best epoch of a run with INT8 weights and activations.

    ``dataset`` is that of the run; None: the folder that the run was trained from. ``out`` is
    written only if the INT8 model loses at most ``max_lost_points`` of accuracy (in percentage
    points) on the validation clips, and no significant number of them (paired test).

    Raises:
        QuantizationError: the network cannot be quantised, it loses too much, or the dataset is
            another one or has no clips to calibrate or to check with.
        ExportError, TrainingError, OutputError: as from ``export``.
    """
    if not 0 <= max_lost_points <= 100:  # NaN is refused too
        raise QuantizationError(
            f"the points of accuracy to lose must be from 0 to 100, found {max_lost_points}"
        )
    with tempfile.TemporaryDirectory(prefix="earful-") as name:
        float_file, int8_file = Path(name) / "float.onnx", Path(name) / "int8.onnx"
        metadata = export(run, float_file).metadata
        data = open_training_data(run, dataset, metadata)
        calibration = calibration_rows(data)
        quantize_graph(onnx.load(float_file), data.waveforms(calibration), int8_file)
        quantization = _compare(float_file, int8_file, data, metadata, len(calibration))
        check_loss(quantization, max_lost_points)
        metadata = _write(int8_file, out, metadata, quantization)
        float_model, model = Classifier.open(float_file), Classifier.open(out)
        return Int8Export(
            path=out,
            metadata=metadata,
            quantization=quantization,
            size_bytes=out.stat().st_size,
            float_size_bytes=float_file.stat().st_size,
            latency_ms=median_latency_ms(model),
            float_latency_ms=median_latency_ms(float_model),
        )


def open_training_data(run: Path, folder: Path | None, metadata: ModelMetadata) -> Dataset:
    """The dataset that a run was trained on; None: the folder that the run names."""
    folder = folder or read_run_dataset(run)
    if folder is None or not folder.is_dir():
        raise QuantizationError(
            f"INT8 needs the clips that the run was trained on, and {folder or 'their folder'} is "
            "missing; give it with --data DATASET"
        )
    dataset = open_dataset(folder)
    if dataset.content_hash != metadata.training_data_hash:
        raise QuantizationError(
            f"{folder} is another dataset than that of {run}, or was changed since; give the "
            "dataset of the run with --data"
        )
    return dataset


def calibration_rows(dataset: Dataset) -> NDArray[np.int64]:
    """Rows of training clips, spread evenly over those of each label."""
    rows = dataset.rows("train")
    labels = dataset.label_matrix[rows]
    counts = np.count_nonzero(labels, axis=0).tolist()
    if missing := [name for name, n in zip(dataset.labels, counts, strict=True) if n == 0]:
        raise QuantizationError(
            f"the dataset has no training clip of {', '.join(map(repr, missing))} to find its "
            "range with; prepare it with clips of every label"
        )
    by_label = rows[np.argsort(labels.argmax(1), kind="stable")]
    n_rows = min(len(rows), _CALIBRATION_CLIPS)
    return by_label[np.linspace(0, len(rows) - 1, n_rows).astype(np.int64)]


def validation_rows(dataset: Dataset) -> NDArray[np.int64]:
    """Rows of the validation clips, which no export is without."""
    rows = dataset.rows("val")
    if len(rows) == 0:
        raise QuantizationError(
            "the dataset has no validation clips to check the INT8 model with; prepare it with a "
            "split that has some"
        )
    return rows


def _compare(
    float_file: Path, int8_file: Path, dataset: Dataset, metadata: ModelMetadata, n_calibration: int
) -> Quantization:
    rows = validation_rows(dataset)
    before, after = (_correct(file, dataset, rows, metadata) for file in (float_file, int8_file))
    return describe_loss(before, after, n_calibration)


def describe_loss(
    before: NDArray[np.bool_], after: NDArray[np.bool_], n_calibration: int
) -> Quantization:
    """What INT8 costs: which validation clips (clips,) are correct before and after it."""
    return Quantization(
        calibration_clips=n_calibration,
        clips=len(before),
        accuracy=float(after.mean()),
        float_accuracy=float(before.mean()),
        lost=int((before & ~after).sum()),
        won=int((after & ~before).sum()),
    )


def _correct(
    file: Path, dataset: Dataset, rows: NDArray[np.int64], metadata: ModelMetadata
) -> NDArray[np.bool_]:
    """Whether a model predicts exactly the labels of each clip (clips,)."""
    session = open_session(file.read_bytes(), "cpu", file)
    correct = []
    for start in range(0, len(rows), _BATCH):
        batch = rows[start : start + _BATCH]
        inputs = {"waveform": dataset.waveforms(batch)}
        [scores] = run_session(session, ["probabilities"], inputs, file)
        predicted = predicted_label_mask(scores, metadata.score_kind)
        correct.append((predicted == dataset.label_matrix[batch]).all(axis=1))
    return np.concatenate(correct)


def check_loss(quantization: Quantization, max_lost_points: float) -> None:
    """Refuse INT8 that loses more than so many percentage points, or significantly many clips."""
    found, clips = quantization, quantization.clips
    lost_points = 100 * (found.float_accuracy - found.accuracy)
    p_value = paired_p_value(found.lost, found.won)
    is_significant = p_value < _SIGNIFICANCE
    if lost_points > max_lost_points or is_significant:
        advice = "" if is_significant else ", or allow more with --max-lost-points"
        raise QuantizationError(
            f"INT8 loses {lost_points:.2f} points of accuracy on {clips} validation clips "
            f"({100 * found.float_accuracy:.2f} to {100 * found.accuracy:.2f} %, {found.lost} "
            f"lost, {found.won} won, p {p_value:.3f}); nothing was written. Export without "
            f"--int8{advice}"
        )


def _write(
    int8_file: Path, out: Path, metadata: ModelMetadata, quantization: Quantization
) -> ModelMetadata:
    """Write the file with its metadata, and the golden example as the INT8 graph gives it."""
    proto = onnx.load(int8_file)
    session = open_session(int8_file.read_bytes(), "cpu", int8_file)
    golden = metadata.golden
    [scores] = run_session(session, ["probabilities"], {"waveform": golden.input()}, int8_file)
    metadata = dataclasses.replace(
        metadata,
        golden=GoldenExample(golden.waveform, tuple(scores[0].tolist())),
        quantization=quantization,
        # Its nodes were traced for the float graph, whose tensors have other names here.
        activation_map=None,
    )
    onnx.helper.set_model_props(proto, metadata.to_props())
    proto.producer_name = "earful"
    with staged_file(out) as staging:
        staging.write_bytes(proto.SerializeToString())
        open_bundle(staging)  # checks metadata and golden example, as a server does
    return metadata
