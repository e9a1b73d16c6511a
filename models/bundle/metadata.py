"""Metadata of a released model, stored in the ``metadata_props`` of its ONNX file.

JSON values under the keys ``earful.*``. A missing or malformed key is an error: a default would be
a guess about the model. Only ``activation_map`` and ``quantization`` may be missing: not every
network has a map, and a model without quantisation is of float32.
"""

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earful.data.errors import EarfulError, command
from earful.data.features.config import FeatureConfig
from earful.data.features.kinds import FEATURE_KINDS
from earful.data.labels.multilabel import SEPARATOR, find_label_problem, has_multiple_labels
from earful.models.bundle.activation_map import ActivationMapInfo
from earful.models.bundle.decision import SCORE_KINDS, ScoreKind
from earful.models.bundle.json_values import positive, probability
from earful.models.bundle.quantization import Quantization

SCHEMA_VERSION = 4
KEY_PREFIX = "earful."
_ACTIVATION_MAP, _QUANTIZATION = "activation_map", "quantization"


class ModelError(EarfulError):
    """A model file that is missing, damaged, of another schema or contradicts its metadata."""


class ModelUnreadable(ModelError):  # noqa: N818 - names the state
    """A model file that could not be read, which may be temporary."""


@dataclass(frozen=True)
class GoldenExample:
    """A waveform (samples,) and the probabilities (labels,) that the model gave for it at export.

    The waveform is stored as 16-bit integers, as most recordings are.
    """

    waveform: NDArray[np.int16]
    probabilities: tuple[float, ...]

    def input(self) -> NDArray[np.float32]:
        """The waveform as model input: (1, samples) float32, full scale 1.0."""
        return (self.waveform.astype(np.float32) / np.float32(32768))[None]


@dataclass(frozen=True)
class ModelMetadata:
    """Metadata of a released model.

    ``score_kind`` says how its probabilities become labels (``models.bundle.decision``). With
    rejection, clips that score below ``rejection_threshold`` get the label "unknown".
    """

    labels: tuple[str, ...]
    features: FeatureConfig
    feature_kind: str
    architecture: dict[str, Any]
    training_data_hash: str
    metrics: dict[str, Any]
    created: str
    temperature: float
    rejection_threshold: float
    score_kind: ScoreKind
    golden: GoldenExample
    activation_map: ActivationMapInfo | None = None
    quantization: Quantization | None = None

    def to_props(self) -> dict[str, str]:
        """The ``metadata_props`` of the ONNX file: JSON text by key."""
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
            "rejection_threshold": self.rejection_threshold,
            "score_kind": self.score_kind,
            "golden": {
                "waveform_int16_base64": base64.b64encode(waveform).decode(),
                "probabilities": list(self.golden.probabilities),
            },
        }
        if self.activation_map is not None:
            values[_ACTIVATION_MAP] = self.activation_map.to_dict()
        if self.quantization is not None:
            values[_QUANTIZATION] = self.quantization.to_dict()
        return {
            KEY_PREFIX + key: json.dumps(value, ensure_ascii=False) for key, value in values.items()
        }


# Legal JSON can hold numbers too large for a float and lists nested too deeply.
_MALFORMED = (ValueError, TypeError, KeyError, OverflowError, RecursionError, EarfulError)


def parse_metadata(props: dict[str, str], path: Path) -> ModelMetadata:
    """Parse the metadata from ``metadata_props``.

    Raises:
        ModelError: it is of another schema, or a key is missing or malformed; the message names it.
    """
    _check_version(props, path)
    values: dict[str, Any] = {}
    optional: dict[str, Callable[[Any], Any]] = {
        _ACTIVATION_MAP: ActivationMapInfo.from_dict,
        _QUANTIZATION: Quantization.from_dict,
    }
    present = {key: parse for key, parse in optional.items() if KEY_PREFIX + key in props}
    for key, parse in (_PARSERS | present).items():
        try:
            values[key] = parse(json.loads(props[KEY_PREFIX + key]))
        except _MALFORMED as error:
            reason = f"has no {error}" if isinstance(error, KeyError) else str(error)
            raise ModelError(
                f"{path} has malformed metadata {KEY_PREFIX}{key}: {reason}"
            ) from error
    if values["score_kind"] == "sigmoid" and any(map(has_multiple_labels, values["labels"])):
        raise ModelError(
            f"{path} is a multi-label model, whose labels cannot contain {SEPARATOR!r}; found "
            f"{', '.join(values['labels'])}"
        )
    return ModelMetadata(**values)


def _check_version(props: dict[str, str], path: Path) -> None:
    """Refuse a file of another schema, or without the keys of this one."""
    keys = [KEY_PREFIX + key for key in ("schema_version", *_PARSERS)]
    missing = [key for key in keys if key not in props]
    version = props.get(keys[0], "")
    if missing == keys:
        reason = "it has no metadata of Earful"
    elif version and version != str(SCHEMA_VERSION):
        reason = f"this version reads schema {SCHEMA_VERSION}, found {version[:20]!r}"
    elif missing or not version:
        reason = f"it lacks the metadata {', '.join(missing) or keys[0]}"
    else:
        return
    raise ModelError(
        f"{path} was not written by this version of Earful: {reason}; export its run again: "
        f"{command('export', 'RUN', '--out', 'model.onnx')}"
    )


def _labels(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(x, str) for x in value):
        raise TypeError(f"expected a list of strings, found {value!r}")
    for label in value:
        has_text = label and label.strip() == label
        problem = find_label_problem(label) if has_text else "a label has text, and no space around"
        if problem is not None:
            raise ValueError(f"{problem}; found {label[:50]!r}")
    if len(set(value)) < len(value):
        raise ValueError(f"expected distinct labels, found {value!r}")
    return tuple(value)


def _one_of(choices: Sequence[str]) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        if value not in choices:
            raise ValueError(f"expected one of {', '.join(choices)}, found {value!r}")
        return str(value)

    return parse


def _architecture(value: Any) -> dict[str, Any]:
    if not isinstance(_object(value)["name"], str):
        raise TypeError(f"expected a string as name, found {value['name']!r}")
    return _object(value)


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"expected an object, found {value!r}")
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected a string, found {value!r}")
    return value


def _golden(value: Any) -> GoldenExample:
    waveform = base64.b64decode(_object(value)["waveform_int16_base64"], validate=True)
    return GoldenExample(
        np.frombuffer(waveform, "<i2"), tuple(float(p) for p in value["probabilities"])
    )


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "labels": _labels,
    "features": FeatureConfig.from_dict,
    "feature_kind": _one_of(FEATURE_KINDS),
    "architecture": _architecture,
    "training_data_hash": _string,
    "metrics": _object,
    "created": _string,
    "temperature": positive,
    "rejection_threshold": probability,
    "score_kind": _one_of(SCORE_KINDS),
    "golden": _golden,
}
