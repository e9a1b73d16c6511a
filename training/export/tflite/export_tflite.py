"""``earful export --target tflite``: a run as a TFLite file for phones and microcontrollers.

run -> ONNX and PyTorch -> TFLite -> INT8? -> the same scores as ONNX on real clips? -> file
"""

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path

from earful.models.bundle.metadata import GoldenExample, ModelMetadata
from earful.models.bundle.quantization import Quantization
from earful.service.classifier import Classifier
from earful.training.export.export import export, load_best_epoch
from earful.training.export.int8 import (
    MAX_LOST_POINTS,
    calibration_rows,
    check_loss,
    open_training_data,
)
from earful.training.export.tflite.compact import shorten_names
from earful.training.export.tflite.convert import convert, quantize, require_tflite
from earful.training.export.tflite.graphs import ExportGraph
from earful.training.export.tflite.parity import check_parity, compare
from earful.training.export.tflite.tflite_model import TfliteModel, arena_bytes, count_operations
from earful.training.export.tflite.write_tflite import header_paths, write_headers, write_tflite


@dataclass(frozen=True)
class TfliteExport:
    """The written TFLite file.

    headers         C headers beside it, if the features are computed outside
    metadata        as an ONNX file of the same run has, with the scores that this file gives
    size_bytes      of the file
    arena_bytes     memory beside the file in TFLite Micro; None if that lacks an operation
    operations      how often each operation is in the graph
    latency_ms      of one clip on one thread of this machine, in LiteRT
    max_difference  largest difference of a score to the ONNX file, on the validation clips
    finished        whether the run was complete
    """

    path: Path
    headers: tuple[Path, ...]
    metadata: ModelMetadata
    size_bytes: int
    arena_bytes: int | None
    operations: dict[str, int]
    latency_ms: float
    max_difference: float
    finished: bool


def export_tflite(
    run: Path,
    out: Path,
    *,
    int8: bool = False,
    features_outside: bool = False,
    dataset: Path | None = None,
    max_lost_points: float = MAX_LOST_POINTS,
) -> TfliteExport:
    """Export the best epoch of a run as TFLite; ``out`` is written only if it passes the check.

    The check runs the validation clips of the run's dataset (None: the folder that the run names)
    through the TFLite file and the ONNX file: float32 scores differ by at most 1e-4, and INT8
    loses at most ``max_lost_points`` of accuracy and no significant number of clips.

    With ``features_outside`` the model takes normalised features (1, bins, frames), and two C
    headers are written beside it: parameters and tables of the front end, and golden vectors.

    Raises:
        TfliteError: the converter is not installed or refuses the network, or float32 scores
            differ.
        QuantizationError: INT8 loses too much, or the dataset is another one or lacks clips.
        ExportError, TrainingError, OutputError: as from ``export``.
    """
    require_tflite()
    _, exported = load_best_epoch(run)
    graph = ExportGraph(exported, features_outside=features_outside)
    headers = header_paths(out) if features_outside else None
    with tempfile.TemporaryDirectory(prefix="earful-") as folder:
        onnx_export = export(run, Path(folder) / "model.onnx")
        onnx_model = Classifier.open(onnx_export.path)
    metadata = onnx_export.metadata
    data = open_training_data(run, dataset, metadata)
    content, calibration = convert(graph, metadata.architecture["name"]), None
    if int8:
        calibration = calibration_rows(data)
        content = quantize(content, graph, data.waveforms(calibration))
    content = shorten_names(content, "features" if features_outside else "waveform", "scores")
    model = TfliteModel(content)
    parity = compare(onnx_model, model, graph, data)
    quantization = None
    if calibration is None:
        check_parity(parity)
    else:
        check_loss(parity.accuracy, max_lost_points)
        quantization = Quantization(len(calibration), **dataclasses.asdict(parity.accuracy))
    metadata = _metadata(metadata, model, graph, quantization)
    if headers:
        write_headers(headers, exported, metadata, model, graph)
    return TfliteExport(
        path=out,
        headers=headers or (),
        metadata=metadata,
        size_bytes=write_tflite(out, content, metadata, model, graph),
        arena_bytes=arena_bytes(content),
        operations=count_operations(content),
        latency_ms=model.latency_ms(graph.inputs(metadata.golden.input())),
        max_difference=parity.max_difference,
        finished=onnx_export.finished,
    )


def _metadata(
    metadata: ModelMetadata,
    model: TfliteModel,
    graph: ExportGraph,
    quantization: Quantization | None,
) -> ModelMetadata:
    """The ONNX file's metadata, with the golden example as the TFLite file gives it."""
    golden = metadata.golden
    [scores] = model.scores(graph.inputs(golden.input()))
    return dataclasses.replace(
        metadata,
        golden=GoldenExample(golden.waveform, tuple(scores.tolist())),
        quantization=quantization,
        activation_map=None,  # its nodes are those of the ONNX graph
    )
