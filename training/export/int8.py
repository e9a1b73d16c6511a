"""``earful export --int8``: a run as a smaller and faster model, if it stays as accurate.

run -> float model -> ranges on training clips -> INT8 model -> both on validation clips -> file
"""

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx

from earful.data.atomic_write import OutputError, require_file_name, staged_file, write_json
from earful.data.dataset.dataset import Dataset
from earful.models.bundle.bundle import open_bundle, open_session
from earful.models.bundle.metadata import GoldenExample, ModelMetadata
from earful.models.bundle.quantization import Quantization
from earful.models.bundle.session_calls import run_session
from earful.service.classifier import Classifier
from earful.training.export.accuracy_drop import check_accuracy_drop
from earful.training.export.export import ExportResult, load_best_epoch, write_onnx
from earful.training.export.export_options import MAX_LOST_POINTS
from earful.training.export.int8_figures import INT8_FILENAME, Int8Figures
from earful.training.export.quantize_graph import quantize_graph
from earful.training.export.run_clips import calibration_rows, open_run_dataset
from earful.training.metrics.latency import median_latency_ms
from earful.training.metrics.paired_accuracy import PairedAccuracy, measure_paired_accuracy


@dataclass(frozen=True)
class Int8Export:
    """The INT8 file, and its figures beside those of the float model of the same run.

    ``finished`` is whether the run was complete; ``figures_error`` is why the run's folder did not
    get the figures, if it did not.
    """

    path: Path
    metadata: ModelMetadata
    figures: Int8Figures
    finished: bool
    figures_error: str | None


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
    with tempfile.TemporaryDirectory(prefix="earful-") as name:
        float_file, int8_file = Path(name) / "float.onnx", Path(name) / "int8.onnx"
        checkpoint, model = load_best_epoch(run)
        data = open_run_dataset(run, dataset, checkpoint.dataset_hash)
        require_file_name(out)
        exported = write_onnx(run, checkpoint, model, float_file)
        calibration = calibration_rows(data)
        quantize_graph(onnx.load(float_file), data.waveforms(calibration), int8_file)
        metadata = _int8_metadata(int8_file, exported.metadata)
        _write(int8_file, int8_file, metadata)
        models = Classifier.open(float_file), Classifier.open(int8_file)
        validation = measure_paired_accuracy(*models, data, "val")
        check_accuracy_drop(validation, max_lost_points)
        quantization = Quantization(**validation.to_dict(), calibration_clips=len(calibration))
        metadata = dataclasses.replace(metadata, quantization=quantization)
        with staged_file(out) as staging:
            _write(int8_file, staging, metadata)
            open_bundle(staging)  # checks metadata and golden example, as a server does
            figures = Int8Figures(
                file=str(out.resolve()),
                best_epoch=exported.best_epoch,
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
        write_json(run / INT8_FILENAME, dataclasses.asdict(figures))
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
