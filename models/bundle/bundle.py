"""The released model: one ONNX file that carries all it needs, opened with onnxruntime alone.

Input ``waveform`` float32 (batch, samples); outputs ``probabilities`` (batch, labels) and
``embedding`` (batch, dim); ``models.bundle.metadata`` is what it says of itself.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from earful.models.bundle.device import Device
from earful.models.bundle.metadata import ModelError, ModelMetadata, parse_metadata
from earful.models.bundle.runtime import ORT_ERRORS, onnxruntime

# Other machines round differently: the export check allows 1e-4 on the same machine.
GOLDEN_TOLERANCE = 1e-3


@dataclass(frozen=True)
class Bundle:
    """An opened model: its session, metadata, file hash and the provider really in use."""

    session: onnxruntime.InferenceSession
    metadata: ModelMetadata
    path: Path
    sha256: str
    provider: str


def open_bundle(path: Path, device: Device = "cpu") -> Bundle:
    """Load a model file and check it against its own golden example.

    Raises:
        ModelError: a file that is missing or no ONNX model, lacks metadata, does not reproduce its
            golden example, or CUDA asked for and not usable.
    """
    blob = _read(path)
    session = open_session(blob, device, path)
    provider = session.get_providers()[0]
    if device == "cuda" and provider != "CUDAExecutionProvider":
        raise ModelError(
            "CUDA was asked for and ONNX Runtime runs on the CPU; install CUDA and cuDNN for "
            f"onnxruntime-gpu {onnxruntime.__version__}, or use --device cpu"
        )
    metadata = parse_metadata(session.get_modelmeta().custom_metadata_map, path)
    _check_graph(session, metadata, path)
    bundle = Bundle(session, metadata, path, hashlib.sha256(blob).hexdigest(), provider)
    _check_golden(bundle)
    return bundle


def open_session(model: bytes, device: Device, path: Path) -> onnxruntime.InferenceSession:
    """A session set for small graphs: one thread, which never spins while it waits.

    One thread is faster than more for a network of this size, and idle spinning starves the rest of
    the process (onnxruntime issues 16304 and 27916).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    options.log_severity_level = (
        3  # a failed CUDA start is reported by open_bundle, in one sentence
    )
    providers = _providers(device)
    try:
        return onnxruntime.InferenceSession(model, options, providers=providers)
    except ORT_ERRORS as error:
        reason = str(error).splitlines()[0][:300]
        raise ModelError(f"{path} is no usable ONNX model: {reason}") from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(
            f"no model file {path}; export one with `earful export RUN --out {path}`"
        ) from error
    except OSError as error:
        raise ModelError(f"cannot read the model {path}: {error.strerror}") from error


def _providers(device: Device) -> list[Any]:
    if device == "cpu" or "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        return ["CPUExecutionProvider"]
    onnxruntime.preload_dlls()  # finds the CUDA libraries of installed nvidia packages
    # EXHAUSTIVE, the default, tunes every new batch size for a second (PaddleX issue 5057).
    cuda = ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC"})
    return [cuda, "CPUExecutionProvider"]


def _check_graph(
    session: onnxruntime.InferenceSession, metadata: ModelMetadata, path: Path
) -> None:
    inputs = [(i.name, i.type, i.shape[1:]) for i in session.get_inputs()]
    outputs = {o.name: o.shape for o in session.get_outputs()}
    expected = [("waveform", "tensor(float)", [metadata.features.clip_samples])]
    if inputs != expected or set(outputs) != {"probabilities", "embedding"}:
        raise ModelError(
            f"{path} has inputs {inputs} and outputs {sorted(outputs)}; wanted {expected} and "
            "['embedding', 'probabilities']"
        )
    if isinstance(session.get_inputs()[0].shape[0], int):
        raise ModelError(f"{path} takes batches of one size only; export it with a dynamic batch")
    if outputs["probabilities"][1:] != [len(metadata.labels)]:
        raise ModelError(
            f"{path} has {len(metadata.labels)} labels and {outputs['probabilities']} outputs"
        )


def _check_golden(bundle: Bundle) -> None:
    golden = bundle.metadata.golden
    if len(golden.waveform) != bundle.metadata.features.clip_samples:
        raise ModelError(f"{bundle.path} has a golden waveform of the wrong length")
    if len(golden.probabilities) != len(bundle.metadata.labels):
        raise ModelError(f"{bundle.path} has not as many golden probabilities as labels")
    try:
        probabilities = bundle.session.run(["probabilities"], {"waveform": golden.input()})[0][0]
    except ORT_ERRORS as error:
        reason = str(error).splitlines()[0][:300]
        raise ModelError(f"{bundle.path} cannot be run: {reason}") from error
    drift = float(np.abs(probabilities - np.array(golden.probabilities)).max())
    if not drift <= GOLDEN_TOLERANCE:  # NaN is drift too
        raise ModelError(
            f"{bundle.path} does not reproduce its golden example (off by {drift:.2g}, at most "
            f"{GOLDEN_TOLERANCE:g}); the file is damaged, or this onnxruntime computes wrongly"
        )
