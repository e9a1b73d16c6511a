"""Export of a run to one ONNX file that takes waveforms, checked for parity with PyTorch."""

import datetime
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn

from earful.data.atomic_write import require_file_name, staged_file
from earful.data.errors import EarfulError, command
from earful.models.bundle.activation_map import ActivationMapInfo
from earful.models.bundle.bundle import open_bundle, open_session
from earful.models.bundle.map_session import MapSession
from earful.models.bundle.metadata import GoldenExample, ModelMetadata
from earful.models.layers.base import PooledNetwork
from earful.models.layers.normalise import WaveformClassifier
from earful.models.layers.onnx_encoder import OnnxEncoder
from earful.models.layers.pooling import mean_std_max
from earful.models.networks.encoder import FrozenEncoder, pretrained_source
from earful.models.networks.zoo import require_classifier
from earful.training.config.train_config import TrainConfig, TrainingError
from earful.training.export.activation_map import (
    MAP,
    MapClassifier,
    activation_map_info,
    split_map,
)
from earful.training.export.merge_encoder import merge_encoder
from earful.training.metrics.calibration import Calibration
from earful.training.metrics.classification import ClassificationMetrics
from earful.training.runs.metrics_file import read_run_metrics
from earful.training.runs.run_dataset import read_run_dataset
from earful.training.trainer.checkpoint import (
    BEST_CHECKPOINT,
    METRICS_FILENAME,
    Checkpoint,
    load_checkpoint,
    rebuild_network,
)

PARITY_BATCHES = (1, 3, 17)
PARITY_TOLERANCE = 1e-4
OPSET = 18
_OUTPUTS = ["probabilities", "embedding"]
_EXAMPLE_BATCH = 2  # with 1 the exporter makes the batch size a constant


class ExportError(EarfulError):
    """The run cannot be exported, or ONNX Runtime and PyTorch differ."""


@dataclass(frozen=True)
class ExportResult:
    """The written file and the largest difference between PyTorch and ONNX Runtime.

    ``finished`` is whether the run was complete.
    """

    path: Path
    size_bytes: int
    max_difference: float
    metadata: ModelMetadata
    finished: bool
    best_epoch: int


def export(run: Path, out: Path) -> ExportResult:
    """Export the best epoch of a run; ``out`` is written only when the parity check passes.

    Raises:
        TrainingError: the run has no usable checkpoint.
        EarfulError: the network is not a classifier.
        ExportError: PyTorch and ONNX Runtime differ by more than 1e-4.
        OutputError: ``out`` cannot be written.
    """
    return write_onnx(run, *load_best_epoch(run), out)


def write_onnx(
    run: Path, checkpoint: Checkpoint, model: WaveformClassifier, out: Path
) -> ExportResult:
    """Export what ``load_best_epoch`` gave for a run, as ``export`` does.

    Raises:
        ExportError, OutputError: as from ``export``.
    """
    # What can be refused at once, before the seconds that tracing takes.
    require_file_name(out)
    accuracies = _read_accuracies(run, checkpoint)
    model_proto, map_graph = to_onnx(model)
    map_info = activation_map_info(model, map_graph) if map_graph is not None else None
    max_difference = check_parity(model, model_proto.SerializeToString(), out, map_info)
    metadata = _metadata(run, checkpoint, model, accuracies, map_info)
    onnx.helper.set_model_props(model_proto, metadata.to_props())
    model_proto.producer_name = "earful"
    with staged_file(out) as staging:
        staging.write_bytes(model_proto.SerializeToString())
        open_bundle(staging)  # checks metadata and golden example, as a server does
        size = staging.stat().st_size
    finished = (run / METRICS_FILENAME).is_file()  # written at the end of training
    return ExportResult(out, size, max_difference, metadata, finished, checkpoint.best.epoch)


def load_best_epoch(run: Path) -> tuple[Checkpoint, WaveformClassifier]:
    """The best epoch of a run, as its checkpoint and as the model that is exported.

    Raises:
        TrainingError: the run has no usable checkpoint.
        EarfulError: the network is not a classifier.
        ExportError: the checkpoint has no calibration.
    """
    checkpoint = load_checkpoint(run / BEST_CHECKPOINT)
    require_classifier(checkpoint.config.model)
    model = WaveformClassifier(
        checkpoint.features,
        checkpoint.config.features,
        rebuild_network(checkpoint),
        temperature=_calibration(run, checkpoint).temperature,
        score_kind=checkpoint.score_kind,
    )
    return checkpoint, model.eval()


def to_onnx(model: WaveformClassifier) -> tuple[onnx.ModelProto, onnx.GraphProto | None]:
    """The ONNX graph: ``waveform`` to ``probabilities`` and ``embedding``.

    Second, the nodes that it lacks to compute the class activation map; None if there is no exact
    one for this network.

    Raises:
        EarfulError: an encoder file cannot be put into one graph with its head.
        ExportError: the exporter of torch fails.
    """
    example = torch.zeros(_EXAMPLE_BATCH, model.extractor.config.clip_samples)
    network = model.classifier.network
    if isinstance(network, PooledNetwork):
        return split_map(_without_traces(_trace(MapClassifier(model), example, "waveform")))
    encoder = network.encoder if isinstance(network, FrozenEncoder) else None
    if not (isinstance(network, FrozenEncoder) and isinstance(encoder, OnnxEncoder)):
        return _without_traces(_trace(model, example, "waveform")), None
    vectors = encoder(example.unsqueeze(1)).transpose(1, 2).contiguous()
    head = _trace(_VectorClassifier(model, network), vectors, "vectors")
    return _without_traces(merge_encoder(encoder, head, OPSET)), None


class _VectorClassifier(nn.Module):
    """The rest of the graph after an encoder file: vectors (batch, frames, dim) to the outputs."""

    def __init__(self, model: WaveformClassifier, network: FrozenEncoder) -> None:
        super().__init__()
        self.model = model
        self.standardiser = network.standardiser

    def forward(self, vectors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        embedding = self.standardiser(mean_std_max(vectors.transpose(1, 2)))
        return self.model.to_probabilities(embedding), embedding


def _without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """Without the lines and paths of the source that the exporter notes at each node."""
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        del value.metadata_props[:]
    for function in model.functions:
        for node in function.node:
            del node.metadata_props[:]
    del model.graph.metadata_props[:]
    return model


def _trace(model: nn.Module, example: torch.Tensor, input_name: str) -> onnx.ModelProto:
    with warnings.catch_warnings():
        # The exporter's dependencies warn of deprecations; the parity check verifies its result.
        warnings.simplefilter("ignore")
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            model,
            (example,),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            input_names=[input_name],
            output_names=_OUTPUTS if not isinstance(model, MapClassifier) else [*_OUTPUTS, MAP],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=65536)},),
        )
    if program is None:
        raise ExportError("the ONNX exporter of torch returned no program; nothing was written")
    traced: onnx.ModelProto = program.model_proto
    return traced


def check_parity(
    model: WaveformClassifier, graph: bytes, out: Path, map_info: ActivationMapInfo | None = None
) -> float:
    """The largest difference of the outputs over random batches of 1, 3 and 17.

    Embeddings and activation maps are compared relative to their largest value, if that is above 1.

    Raises:
        ExportError: the difference exceeds 1e-4.
    """
    session = open_session(graph, "cpu", out)
    map_session = None if map_info is None else MapSession(graph, map_info, "cpu", out)
    torch_model = model if map_session is None else MapClassifier(model)
    max_difference = 0.0
    for batch in PARITY_BATCHES:
        waveforms = _test_waveforms(batch, model.extractor.config.clip_samples)
        with torch.inference_mode():
            expected = [tensor.numpy() for tensor in torch_model(torch.from_numpy(waveforms))]
        found = session.run(_OUTPUTS, {"waveform": waveforms})
        if map_session is not None:
            found.append(map_session.run(waveforms))
        difference = max(map(_difference, found, expected))
        if not difference <= PARITY_TOLERANCE:
            raise ExportError(
                f"ONNX Runtime and PyTorch differ by {difference:.2g} at batch {batch} (at most "
                f"{PARITY_TOLERANCE:g} is allowed); nothing was written. Check the versions of "
                "torch, onnx, onnxscript and onnxruntime against uv.lock"
            )
        max_difference = max(max_difference, difference)
    return max_difference


def _difference(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """The largest difference, relative to the largest value if that is above 1."""
    return float(np.abs(found - expected).max()) / max(1.0, float(np.abs(expected).max()))


def _test_waveforms(batch: int, samples: int) -> NDArray[np.float32]:
    """Noise (batch, samples) float32 at speech-like levels, silent in the first quarter."""
    generator = np.random.default_rng(batch)
    levels = generator.uniform(0.01, 0.5, (batch, 1))
    waveforms = generator.standard_normal((batch, samples)) * levels / 3
    waveforms[:, : samples // 4] = 0.0
    return np.clip(waveforms, -1, 1).astype(np.float32)


def _metadata(
    run: Path,
    checkpoint: Checkpoint,
    model: WaveformClassifier,
    accuracies: dict[str, Any],
    map_info: ActivationMapInfo | None,
) -> ModelMetadata:
    return ModelMetadata(
        labels=checkpoint.labels,
        features=checkpoint.features,
        feature_kind=checkpoint.config.features,
        architecture=_architecture(checkpoint.config),
        training_data_hash=checkpoint.dataset_hash,
        metrics=accuracies,
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        temperature=model.temperature,
        rejection_threshold=_calibration(run, checkpoint).threshold,
        score_kind=model.score_kind,
        golden=_golden_example(model),
        activation_map=map_info,
    )


def _architecture(config: TrainConfig) -> dict[str, Any]:
    architecture: dict[str, Any] = {"name": config.model, "options": config.options}
    if pretrained := pretrained_source(config.model, config.options):
        architecture["pretrained"] = pretrained
    return architecture


def _calibration(run: Path, checkpoint: Checkpoint) -> Calibration:
    if checkpoint.calibration is None:
        raise ExportError(
            f"{run / BEST_CHECKPOINT} has no calibration; train again into another folder: "
            f"{command('train', read_run_dataset(run) or 'DATASET', '--out', 'RUN')}"
        )
    return checkpoint.calibration


def _golden_example(model: WaveformClassifier) -> GoldenExample:
    waveform = _test_waveforms(1, model.extractor.config.clip_samples)[0]
    golden = GoldenExample((waveform * 32767).astype(np.int16), ())
    with torch.inference_mode():
        probabilities, _ = model(torch.from_numpy(golden.input()))
    return GoldenExample(golden.waveform, tuple(probabilities[0].tolist()))


def _read_accuracies(run: Path, checkpoint: Checkpoint) -> dict[str, Any]:
    """Accuracy and its interval from the run's metrics.json; empty if it is of another epoch."""
    try:
        metrics = read_run_metrics(run)
    except TrainingError as error:
        raise ExportError(str(error)) from error
    if metrics is None or metrics.best_epoch != checkpoint.best.epoch:  # resumed and stopped since
        return {}
    kept = ("clips", "accuracy", "accuracy_ci95", "macro_f1")
    found: dict[str, Any] = {"split_mode": metrics.split_mode}
    for name, part in (("validation", metrics.validation), ("test", metrics.test)):
        if isinstance(part, ClassificationMetrics):
            found[name] = {key: value for key, value in part.to_dict().items() if key in kept}
    return found
