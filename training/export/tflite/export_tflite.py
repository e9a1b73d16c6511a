"""``earful export --target tflite``: a run as a TFLite file for phones and microcontrollers.

run -> ONNX and PyTorch -> TFLite -> INT8? -> the same scores as ONNX on real clips? -> file
"""

import dataclasses
import tempfile
from dataclasses import dataclass
from pathlib import Path

from earful.data.atomic_write import require_file_name
from earful.data.dataset.dataset import Dataset
from earful.models.bundle.metadata import GoldenExample, ModelMetadata
from earful.models.bundle.quantization import Quantization
from earful.models.layers.normalise import WaveformClassifier
from earful.service.classifier import Classifier
from earful.training.export.accuracy_drop import check_accuracy_drop
from earful.training.export.export import load_best_epoch, write_onnx
from earful.training.export.export_options import ExportOptions
from earful.training.export.run_clips import calibration_rows, open_run_dataset
from earful.training.export.tflite.compact import shorten_names
from earful.training.export.tflite.convert import (
    convert,
    quantize,
    require_convertible,
    require_tflite,
)
from earful.training.export.tflite.graphs import ExportGraph
from earful.training.export.tflite.micro_model import MicroModel
from earful.training.export.tflite.operations import count_operations
from earful.training.export.tflite.parity import Parity, check_parity, compare
from earful.training.export.tflite.stream_graph import StreamGraph
from earful.training.export.tflite.tflite_error import TfliteError
from earful.training.export.tflite.tflite_model import TfliteModel, TfliteStream
from earful.training.export.tflite.write_tflite import header_paths, write_headers, write_tflite
from earful.training.metrics.paired_accuracy import PairedAccuracy


@dataclass(frozen=True)
class TfliteExport:
    """The written TFLite file.

    headers         C headers beside it, if the features are computed outside
    metadata        as an ONNX file of the same run has, with the scores that this file gives
    size_bytes      of the file
    arena_bytes     memory beside the file in TFLite Micro, or why that cannot run it
    operations      how often each operation is in the graph
    latency_ms      of one clip, or frame of a stream, on one thread of this machine, in LiteRT
    accuracy        of LiteRT on the validation clips, beside that of the ONNX file
    micro_accuracy  of TFLite Micro, if the features are computed outside and it can run the model
    max_difference  largest difference of a score to the ONNX file, on the validation clips
    finished        whether the run was complete
    """

    path: Path
    headers: tuple[Path, ...]
    metadata: ModelMetadata
    size_bytes: int
    arena_bytes: int | str
    operations: dict[str, int]
    latency_ms: float
    accuracy: PairedAccuracy
    micro_accuracy: PairedAccuracy | None
    max_difference: float
    finished: bool


def export_tflite(run: Path, out: Path, options: ExportOptions) -> TfliteExport:
    """Export the best epoch of a run as TFLite; ``out`` is written only if it passes the check.

    The check runs the validation clips of the run's dataset through the TFLite file and the ONNX
    file: float32 scores differ by at most 1e-4, and INT8 loses at most the allowed points of
    accuracy and no significant number of clips. With the features outside TFLite Micro is checked
    too, if it has the operations.

    With the features outside the model takes normalised features (1, bins, frames), and two C
    headers are written beside it: parameters and tables of the front end, and golden vectors. A
    stream takes one frame of them (1, bins, 1) and a state, and gives the next state too.

    Raises:
        TfliteError: the converter is not installed or refuses the network, float32 scores differ,
            or the stream of a network that looks ahead is asked for.
        QuantizationError: INT8 loses too much, or a label has no clip to calibrate with.
        ExportError: the run's dataset is missing, another one or without validation clips.
        TrainingError, OutputError: as from ``export``.
    """
    require_tflite()
    checkpoint, exported = load_best_epoch(run)
    require_convertible(checkpoint.config.model)
    data = open_run_dataset(run, options.data, checkpoint.dataset_hash)
    graph = _graph(exported, options)
    require_file_name(out)
    headers = header_paths(out) if graph.features_outside else ()
    with tempfile.TemporaryDirectory(prefix="earful-") as folder:
        onnx_export = write_onnx(run, checkpoint, exported, Path(folder) / "model.onnx")
        onnx_model = Classifier.open(onnx_export.path)
    content, n_calibration = _convert(graph, data, checkpoint.config.model, options)
    model, micro = _open(content, graph), _open_micro(content)
    parity, micro_parity = compare(onnx_model, model, graph, data), None
    if isinstance(micro, MicroModel) and options.features_outside and not options.stream:
        micro_parity = compare(onnx_model, micro, graph, data)
    for found in filter(None, (parity, micro_parity)):
        _check(found, options)
    quantization = None
    if options.int8:
        quantization = Quantization(**parity.accuracy.to_dict(), calibration_clips=n_calibration)
    metadata = _metadata(onnx_export.metadata, model, graph, quantization)
    operations = count_operations(content)
    latency_ms = model.latency_ms(graph.inputs(metadata.golden.input()))
    size = write_tflite(out, content, metadata, model, graph)
    if headers:
        write_headers(headers, exported, metadata, model, graph)
    return TfliteExport(
        path=out,
        headers=headers,
        metadata=metadata,
        size_bytes=size,
        arena_bytes=micro if isinstance(micro, str) else micro.arena_bytes,
        operations=operations,
        latency_ms=latency_ms,
        accuracy=parity.accuracy,
        micro_accuracy=micro_parity.accuracy if micro_parity else None,
        max_difference=parity.max_difference,
        finished=onnx_export.finished,
    )


def _check(parity: Parity, options: ExportOptions) -> None:
    if options.int8:
        check_accuracy_drop(parity.accuracy, options.lost_points_limit)
    else:
        check_parity(parity)


def _convert(
    graph: ExportGraph, data: Dataset, network: str, options: ExportOptions
) -> tuple[bytes, int]:
    """The TFLite model, and how many clips it was calibrated with."""
    content, n_calibration = convert(graph, network), 0
    if options.int8:
        rows = calibration_rows(data)
        n_calibration = len(rows)
        content = quantize(content, graph, data.waveforms(rows))
    return shorten_names(content, graph.input_names, graph.output_names), n_calibration


def _graph(exported: WaveformClassifier, options: ExportOptions) -> ExportGraph:
    if options.stream:
        return StreamGraph(exported)
    return ExportGraph(exported, features_outside=options.features_outside)


def _open(content: bytes, graph: ExportGraph) -> TfliteModel:
    name = graph.input_names[0]
    if isinstance(graph, StreamGraph):
        return TfliteStream(content, name, graph.first_state())
    return TfliteModel(content, name)


def _open_micro(content: bytes) -> MicroModel | str:
    """The model in TFLite Micro, or why that cannot run it."""
    try:
        return MicroModel(content)
    except TfliteError as error:
        return str(error)


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
