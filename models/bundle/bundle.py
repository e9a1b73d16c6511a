"""A released model: one self-contained ONNX file, opened with onnxruntime alone.

Input ``waveform`` float32 (batch, samples); outputs ``probabilities`` (batch, labels) and
``embedding`` (batch, dim). ``models.bundle.metadata`` defines its metadata.
"""

import hashlib
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from earful.data.errors import command
from earful.models.bundle.device import Device
from earful.models.bundle.metadata import ModelError, ModelMetadata, ModelUnreadable, parse_metadata
from earful.models.bundle.regular_file import NotRegularFile, read_regular_file
from earful.models.bundle.runtime import INVALID_PROTOBUF, ORT_ERRORS, error_line, onnxruntime
from earful.models.bundle.session_calls import create_session, run_session

_EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"
# Other machines round differently: the export check allows 1e-4 on the same machine.
GOLDEN_TOLERANCE = 1e-3
# An activation that another machine rounds to the next of its 256 steps moves more.
INT8_GOLDEN_TOLERANCE = 0.05


@dataclass(frozen=True)
class Bundle:
    """An opened model: session, metadata, SHA-256 of the file and execution provider in use.

    ``content`` is the file's bytes if its activation map may be asked for, else empty.
    """

    session: onnxruntime.InferenceSession
    metadata: ModelMetadata
    path: Path
    sha256: str
    provider: str
    content: bytes = field(repr=False)


def open_bundle(path: Path, device: Device = "cpu", *, sha256: str | None = None) -> Bundle:
    """Open a model file and check that it reproduces its golden example.

    With ``sha256`` only a file with that hash is opened.

    Raises:
        ModelUnreadable: the file cannot be read, or has another hash.
        ModelError: the file is missing, is not an ONNX model, lacks metadata or does not reproduce
            its golden example; or ``device`` is "cuda" and CUDA is not usable.
    """
    blob = _read(path)
    found_sha256 = hashlib.sha256(blob).hexdigest()
    if sha256 not in (None, found_sha256):
        raise ModelUnreadable(f"{path} has changed while it was tried")
    session = open_session(blob, device, path)
    provider = session.get_providers()[0]
    if device == "cuda" and provider != "CUDAExecutionProvider":
        raise ModelError(
            "CUDA was requested but ONNX Runtime runs on the CPU; install CUDA and cuDNN for "
            f"onnxruntime-gpu {onnxruntime.__version__}, or use --device cpu"
        )
    metadata = parse_metadata(session.get_modelmeta().custom_metadata_map, path)
    _check_graph(session, metadata, path)
    bundle = Bundle(
        session=session,
        metadata=metadata,
        path=path,
        sha256=found_sha256,
        provider=provider,
        content=b"" if metadata.activation_map is None else blob,
    )
    _check_golden(bundle)
    return bundle


def open_session(model: bytes, device: Device, path: Path) -> onnxruntime.InferenceSession:
    """Open an ONNX Runtime session configured for small graphs: one thread, no spinning.

    One thread is faster than several for networks of this size, and spinning threads starve the
    rest of the process (onnxruntime issues 16304 and 27916).

    Raises:
        ModelError: ``model`` is not a usable ONNX model; ``path`` is only named in the message.
        ModelTimeout: it takes too long to open.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    # A model file is one file; without this, one could read any file below the working folder.
    options.add_session_config_entry(_EXTERNAL_FOLDER, os.devnull)
    # 4: nothing. Errors are raised as well, and a log would print names of the file's nodes.
    options.log_severity_level = 4
    providers = _providers(device)
    try:
        return create_session(model, options, providers, path)
    except ORT_ERRORS as error:
        # What the parser of protobuf says is of no use; a newer opset, say, is.
        known = isinstance(error, INVALID_PROTOBUF) or path.suffix != ".onnx"
        reason = "" if known else f": {error_line(error)}"
        raise ModelError(
            f"{path} is not a usable ONNX model{reason}; it may be damaged or another file: export "
            f"it again: {_export(path)}"
        ) from error


def _export(path: Path) -> str:
    return command("export", "RUN", "--out", path if path.suffix == ".onnx" else "model.onnx")


def _read(path: Path) -> bytes:
    try:
        return read_regular_file(path)
    except NotRegularFile as error:
        raise ModelError(f"{path} is not a model file: {error.strerror}") from error
    except FileNotFoundError as error:
        raise ModelUnreadable(f"no model file {path}; export one: {_export(path)}") from error
    except OSError as error:
        raise ModelUnreadable(f"cannot read the model {path}: {error.strerror}") from error


def _providers(device: Device) -> list[Any]:
    if device == "cpu" or "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return ["CPUExecutionProvider"]
    onnxruntime.preload_dlls()  # finds the CUDA libraries of installed nvidia packages
    # EXHAUSTIVE, the default, tunes every new batch size for a second (PaddleX issue 5057).
    # TF32, its default since Ampere, has ten bits: mel bands of speech are off by up to 0.14 dB.
    options = {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}
    cuda = ("CUDAExecutionProvider", options)
    return [cuda, "CPUExecutionProvider"]


def _check_graph(
    session: onnxruntime.InferenceSession, metadata: ModelMetadata, path: Path
) -> None:
    inputs = [(i.name, i.type, i.shape[1:]) for i in session.get_inputs()]
    outputs = {o.name: o.shape for o in session.get_outputs()}
    expected = [("waveform", "tensor(float)", [metadata.features.clip_samples])]
    if inputs != expected or set(outputs) != {"probabilities", "embedding"}:
        raise ModelError(
            f"{path} has inputs {inputs} and outputs {sorted(outputs)}; expected {expected} and "
            "['embedding', 'probabilities']"
        )
    if isinstance(session.get_inputs()[0].shape[0], int):
        raise ModelError(f"{path} has a fixed batch size; export it with a dynamic batch dimension")
    if outputs["probabilities"][1:] != [len(metadata.labels)]:
        raise ModelError(
            f"{path} has {len(metadata.labels)} labels and {outputs['probabilities']} outputs"
        )


def golden_tolerance(metadata: ModelMetadata) -> float:
    """How far another machine's probabilities may be from those of the golden example."""
    return GOLDEN_TOLERANCE if metadata.quantization is None else INT8_GOLDEN_TOLERANCE


def _check_golden(bundle: Bundle) -> None:
    golden = bundle.metadata.golden
    if len(golden.waveform) != bundle.metadata.features.clip_samples:
        raise ModelError(
            f"{bundle.path} has a golden waveform of {len(golden.waveform)} samples, expected "
            f"{bundle.metadata.features.clip_samples}"
        )
    if len(golden.probabilities) != len(bundle.metadata.labels):
        raise ModelError(
            f"{bundle.path} has {len(golden.probabilities)} golden probabilities for "
            f"{len(bundle.metadata.labels)} labels"
        )
    try:
        [probabilities] = run_session(
            bundle.session, ["probabilities"], {"waveform": golden.input()}, bundle.path
        )
    except ORT_ERRORS as error:
        raise ModelError(f"{bundle.path} fails to run: {error_line(error)}") from error
    if probabilities.shape != (1, len(golden.probabilities)):
        raise ModelError(
            f"{bundle.path} gives scores of shape {probabilities.shape} for its golden example; "
            f"expected {(1, len(golden.probabilities))}"
        )
    drift = float(np.abs(probabilities[0] - np.array(golden.probabilities)).max())
    tolerance = golden_tolerance(bundle.metadata)
    if not drift <= tolerance:  # NaN is drift too
        raise ModelError(
            f"{bundle.path} does not reproduce its golden example (off by {drift:.2g}, allowed is "
            f"{tolerance:g}); the file is damaged, or this onnxruntime is faulty: export it "
            f"again: {_export(bundle.path)}"
        )
