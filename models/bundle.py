"""The released model: one ONNX file that carries all it needs, opened with onnxruntime alone.

Input ``waveform`` float32 (batch, samples); outputs ``probabilities`` (batch, labels) and
``embedding`` (batch, dim). ``metadata_props`` holds JSON values under the keys ``earshot.*``. A key
that is missing or malformed is an error: a default would be a guess about somebody's model.
"""

import base64
import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from data.errors import EarshotError
from data.features import FEATURE_KINDS, FeatureConfig
from models.runtime import onnxruntime

SCHEMA_VERSION = 1
PREFIX = "earshot."
# Other machines round differently: the export check allows 1e-4 on the same machine.
GOLDEN_TOLERANCE = 1e-3

Device = Literal["auto", "cpu", "cuda"]


class ModelError(EarshotError):
    """A model file that is missing, damaged, of another schema or not as its metadata says."""


@dataclass(frozen=True)
class Golden:
    """A waveform (samples,) and the probabilities (labels,) that the model gave when exported.

    The waveform is kept as 16-bit integers, which is what recordings are.
    """

    waveform: NDArray[np.int16]
    probabilities: tuple[float, ...]

    def input(self) -> NDArray[np.float32]:
        """The waveform as the model takes it: (1, samples) float32."""
        return (self.waveform.astype(np.float32) / np.float32(32768))[None]


@dataclass(frozen=True)
class ModelMetadata:
    """All that a model says of itself."""

    labels: tuple[str, ...]
    features: FeatureConfig
    feature_kind: str
    architecture: dict[str, Any]
    training_data_hash: str
    metrics: dict[str, Any]
    created: str
    temperature: float
    golden: Golden

    def to_props(self) -> dict[str, str]:
        """The ``metadata_props`` of the ONNX file: JSON text under each key of the contract."""
        waveform = self.golden.waveform.astype("<i2").tobytes()
        values: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "labels": list(self.labels),
            "features": self.features.to_dict(),
            "feature_kind": self.feature_kind,
            "architecture": self.architecture,
            "training_data_hash": self.training_data_hash,
            "metrics": self.metrics,
            "created": self.created,
            "temperature": self.temperature,
            "golden": {
                "waveform_int16_base64": base64.b64encode(waveform).decode(),
                "probabilities": list(self.golden.probabilities),
            },
        }
        return {
            PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in values.items()
        }


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


def open_session(
    model: bytes, device: Device, path: Path, threads: int = 1
) -> onnxruntime.InferenceSession:
    """A session set for small graphs: ``threads`` threads that never spin while they wait.

    One thread is faster than more for a network of this size, and idle spinning starves the rest of
    the process (onnxruntime issues 16304 and 27916).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
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
    # onnxruntime's errors derive from RuntimeError (its C++ exceptions) or Exception by kind.
    except _ORT_ERRORS as error:
        reason = str(error).splitlines()[0][:300]
        raise ModelError(f"{path} is no usable ONNX model: {reason}") from error


_ORT_STATE = onnxruntime.capi.onnxruntime_pybind11_state
_ORT_ERRORS = (
    RuntimeError, ValueError, _ORT_STATE.Fail, _ORT_STATE.InvalidArgument, _ORT_STATE.InvalidGraph,
    _ORT_STATE.InvalidProtobuf, _ORT_STATE.NotImplemented, _ORT_STATE.RuntimeException,
)  # fmt: skip


def parse_metadata(props: dict[str, str], path: Path) -> ModelMetadata:
    """Rebuild the metadata from ``metadata_props``.

    Raises:
        ModelError: naming the key that is missing or malformed.
    """
    missing = [PREFIX + key for key in _PARSERS if PREFIX + key not in props]
    if missing:
        raise ModelError(
            f"{path} lacks the metadata {', '.join(missing)}; it was not exported by Earshot. "
            "Use `earshot export RUN --out model.onnx`"
        )
    values: dict[str, Any] = {}
    for key, parse in _PARSERS.items():
        try:
            values[key] = parse(json.loads(props[PREFIX + key]))
        except (ValueError, TypeError, KeyError, EarshotError) as error:
            reason = f"has no {error}" if isinstance(error, KeyError) else str(error)
            raise ModelError(f"{path} has malformed metadata {PREFIX}{key}: {reason}") from error
    del values["schema_version"]
    return ModelMetadata(**values)


def _schema_version(value: Any) -> int:
    if value != SCHEMA_VERSION:
        raise ValueError(f"this version reads schema {SCHEMA_VERSION}, found {value!r}")
    return SCHEMA_VERSION


def _labels(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(x, str) for x in value):
        raise TypeError(f"a list of strings is wanted, found {value!r}")
    if len(set(value)) < len(value):
        raise ValueError(f"a label is there twice: {value!r}")
    return tuple(value)


def _feature_kind(value: Any) -> str:
    if value not in FEATURE_KINDS:
        raise ValueError(f"one of {', '.join(FEATURE_KINDS)} is wanted, found {value!r}")
    return str(value)


def _architecture(value: Any) -> dict[str, Any]:
    if not isinstance(_object(value)["name"], str):
        raise TypeError(f"its name must be a string, found {value['name']!r}")
    return _object(value)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"an object is wanted, found {value!r}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a string is wanted, found {value!r}")
    return value


def _temperature(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise ValueError(f"a finite number above 0 is wanted, found {value!r}")
    return float(value)


def _golden(value: Any) -> Golden:
    waveform = base64.b64decode(_object(value)["waveform_int16_base64"], validate=True)
    return Golden(np.frombuffer(waveform, "<i2"), tuple(float(p) for p in value["probabilities"]))


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "schema_version": _schema_version,
    "labels": _labels,
    "features": FeatureConfig.from_dict,
    "feature_kind": _feature_kind,
    "architecture": _architecture,
    "training_data_hash": _text,
    "metrics": _object,
    "created": _text,
    "temperature": _temperature,
    "golden": _golden,
}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ModelError(
            f"no model file {path}; export one with `earshot export RUN --out {path}`"
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
    wanted = [("waveform", "tensor(float)", [metadata.features.clip_samples])]
    if inputs != wanted or set(outputs) != {"probabilities", "embedding"}:
        raise ModelError(
            f"{path} has inputs {inputs} and outputs {sorted(outputs)}; wanted {wanted} and "
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
    found = bundle.session.run(["probabilities"], {"waveform": golden.input()})[0][0]
    drift = float(np.abs(found - np.array(golden.probabilities)).max())
    if not drift <= GOLDEN_TOLERANCE:  # NaN is drift too
        raise ModelError(
            f"{bundle.path} does not reproduce its golden example (off by {drift:.2g}, at most "
            f"{GOLDEN_TOLERANCE:g}); the file is damaged, or this onnxruntime computes wrongly"
        )
