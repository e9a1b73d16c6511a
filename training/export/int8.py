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

from earful.data.atomic_write import OutputError, staged_file
from earful.data.dataset.dataset import Dataset, open_dataset
from earful.models.bundle.bundle import open_bundle, open_session
from earful.models.bundle.metadata import GoldenExample, ModelMetadata
from earful.models.bundle.quantization import Quantization
from earful.models.bundle.session_calls import run_session
from earful.service.classifier import Classifier
from earful.training.export.export import ExportResult, export
from earful.training.export.int8_figures import INT8_FILENAME, Int8Figures
from earful.training.export.quantize_graph import QuantizationError, quantize_graph
from earful.training.metrics.latency import median_latency_ms
from earful.training.metrics.paired_accuracy import PairedAccuracy, measure_paired_accuracy
from earful.training.runs.run_dataset import read_run_dataset
from earful.training.trainer.checkpoint import BEST_CHECKPOINT, load_checkpoint

# More change neither the ranges nor the accuracy.
_CALIBRATION_CLIPS = 512
_SIGNIFICANCE = 0.05
MAX_LOST_POINTS = 0.5


@dataclass(frozen=True)
class Int8Export:
    """The INT8 file, and its figures beside those of the float model of the same run.

    ``finished`` is whether the run was complete; ``not_kept`` is why the run's folder did not get
    the figures, if it did not.
    """

    path: Path
    metadata: ModelMetadata
    figures: Int8Figures
    finished: bool
    not_kept: str | None


def export_int8(
    run: Path, out: Path, dataset: Path | None = None, max_lost_points: float = MAX_LOST_POINTS
) -> Int8Export:
    """Export the best epoch of a run with INT8 weights and activations.

    ``dataset`` is that of the run; None: the folder that the run was trained from. ``out`` is
    written only if the INT8 model loses at most ``max_lost_points`` of accuracy (in percentage
    points) on the validation clips, and no significant number of them (paired test). The run's
    folder gets the figures, as int8.json.

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
        exported = export(run, float_file)
        data = open_training_data(run, dataset, exported.metadata)
        calibration = calibration_rows(data)
        quantize_graph(onnx.load(float_file), data.waveforms(calibration), int8_file)
        metadata = _int8_metadata(int8_file, exported.metadata)
        _write(int8_file, int8_file, metadata)
        models = Classifier.open(float_file), Classifier.open(int8_file)
        validation = measure_paired_accuracy(*models, data, "val")
        check_loss(validation, max_lost_points)
        quantization = Quantization(len(calibration), **dataclasses.asdict(validation))
        metadata = dataclasses.replace(metadata, quantization=quantization)
        with staged_file(out) as staging:
            _write(int8_file, staging, metadata)
            open_bundle(staging)  # checks metadata and golden example, as a server does
            figures = Int8Figures(
                file=str(out.resolve()),
                best_epoch=load_checkpoint(run / BEST_CHECKPOINT).best.epoch,
                size_bytes=staging.stat().st_size,
                float_size_bytes=exported.size_bytes,
                latency_ms=median_latency_ms(models[1]),
                float_latency_ms=median_latency_ms(models[0]),
                validation=validation,
                test=_measure_test(exported, models, data),
            )
        return Int8Export(out, metadata, figures, exported.finished, _keep_figures(run, figures))


def _keep_figures(run: Path, figures: Int8Figures) -> str | None:
    """Write the figures into the run; why not, where a run can only be read."""
    try:
        with staged_file(run / INT8_FILENAME) as staging:
            staging.write_text(figures.to_json(), "utf-8")
    except OutputError as error:
        return str(error)
    return None


def _measure_test(
    exported: ExportResult, models: tuple[Classifier, Classifier], dataset: Dataset
) -> PairedAccuracy | None:
    """The test part is used only after all choices of a run."""
    if not exported.finished or len(dataset.rows("test")) == 0:
        return None
    return measure_paired_accuracy(*models, dataset, "test")


def open_training_data(run: Path, folder: Path | None, metadata: ModelMetadata) -> Dataset:
    """The dataset that a run was trained on; None: the folder that the run names.

    Raises:
        QuantizationError: it is missing, another one, or has no validation clips.
    """
    folder = folder or read_run_dataset(run)
    if folder is None or not folder.is_dir():
        raise QuantizationError(
            "the exported model is checked with the clips of the run's dataset, and "
            f"{folder or 'its folder'} is missing; give it with --data DATASET"
        )
    dataset = open_dataset(folder)
    if dataset.content_hash != metadata.training_data_hash:
        raise QuantizationError(
            f"{folder} is another dataset than that of {run}, or was changed since; give the "
            "dataset of the run with --data"
        )
    if len(dataset.rows("val")) == 0:
        raise QuantizationError(
            "the dataset has no validation clips to check the exported model with; prepare it "
            "with a split that has some"
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


def check_loss(found: PairedAccuracy, max_lost_points: float) -> None:
    """Refuse INT8 that loses more than so many percentage points, or significantly many clips.

    Raises:
        QuantizationError: it does.
    """
    is_significant = found.p_value < _SIGNIFICANCE
    if found.lost_points > max_lost_points or is_significant:
        advice = "" if is_significant else ", or allow more with --max-lost-points"
        raise QuantizationError(
            f"INT8 loses {found.lost_points:.2f} points of accuracy on {found.clips} validation "
            f"clips ({100 * found.float_accuracy:.2f} to {100 * found.accuracy:.2f} %, "
            f"{found.lost} lost, {found.won} won, p {found.p_value:.3f}); nothing was written. "
            f"Export without --int8{advice}"
        )


def _int8_metadata(int8_file: Path, metadata: ModelMetadata) -> ModelMetadata:
    """The metadata of the float file, with the golden example as the INT8 graph gives it."""
    session = open_session(int8_file.read_bytes(), "cpu", int8_file)
    golden = metadata.golden
    [scores] = run_session(session, ["probabilities"], {"waveform": golden.input()}, int8_file)
    return dataclasses.replace(
        metadata,
        golden=GoldenExample(golden.waveform, tuple(scores[0].tolist())),
        # Its nodes were traced for the float graph, whose tensors have other names here.
        activation_map=None,
    )


def _write(int8_file: Path, out: Path, metadata: ModelMetadata) -> None:
    proto = onnx.load(int8_file)
    onnx.helper.set_model_props(proto, metadata.to_props())
    proto.producer_name = "earful"
    out.write_bytes(proto.SerializeToString())
