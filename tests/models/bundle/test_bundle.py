"""The model file: metadata round-trips, and every defect is refused with its name."""

import base64
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from earful.data.errors import EarfulError
from earful.data.features.config import FeatureConfig
from earful.models.bundle.bundle import open_bundle
from earful.models.bundle.metadata import GoldenExample, ModelError, ModelMetadata, parse_metadata
from earful.models.bundle.quantization import Quantization
from earful.models.registry.find_model import find_model

FEATURES = dataclasses.replace(FeatureConfig.for_rate(8_000), clip_seconds=0.25)
WAVEFORM = np.linspace(-20_000, 20_000, FEATURES.clip_samples).astype(np.int16)
KEYS = (
    "schema_version",
    "labels",
    "features",
    "feature_kind",
    "architecture",
    "training_data_hash",
    "metrics",
    "created",
    "temperature",
    "rejection_threshold",
    "score_kind",
    "golden",
)


def probabilities(waveform: np.ndarray) -> np.ndarray:
    """The softmax of the first three samples, which the graph below computes."""
    powers = np.exp(waveform[:3])
    return powers / powers.sum()


METADATA = ModelMetadata(
    labels=("2", "10", "zehn é 十"),
    features=FEATURES,
    feature_kind="mfcc",
    architecture={"name": "cnn", "options": {"dropout": 0.2}},
    training_data_hash="abc123",
    metrics={"test": {"accuracy": 0.5}},
    created="2026-01-02T03:04:05+00:00",
    temperature=1.25,
    rejection_threshold=0.4,
    score_kind="softmax",
    golden=GoldenExample(WAVEFORM, tuple(probabilities(WAVEFORM / 32768).tolist())),
)


def graph(
    *,
    source: str = "waveform",
    batch: str | int = "batch",
    samples: int = FEATURES.clip_samples,
    embedding: str = "embedding",
    outputs: int = 3,
) -> onnx.ModelProto:
    """The smallest graph with the inputs and outputs of a model file."""
    numbers = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("first", 0), ("last", outputs), ("axis", 1))
    ]
    nodes = [
        helper.make_node("Slice", [source, "first", "last", "axis"], [embedding]),
        helper.make_node("Softmax", [embedding], ["probabilities"], axis=1),
    ]

    def value_info(name: str, size: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, [batch, size])

    tiny_graph = helper.make_graph(
        nodes,
        "tiny",
        inputs=[value_info(source, samples)],
        outputs=[value_info("probabilities", outputs), value_info(embedding, outputs)],
        initializer=numbers,
    )
    return helper.make_model(tiny_graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a model file with METADATA, some properties replaced (None: removed)."""

    def to_file(changes: dict[str, Any] | None = None, **graph_changes: Any) -> Path:
        model = graph(**graph_changes)
        props = METADATA.to_props()
        for key, value in (changes or {}).items():
            props[f"earful.{key}"] = value
        helper.set_model_props(model, {k: v for k, v in props.items() if v is not None})
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return to_file


def test_metadata_round_trips_through_the_model_file(write: Callable[..., Path]) -> None:
    bundle = open_bundle(write())
    metadata = bundle.metadata
    np.testing.assert_array_equal(metadata.golden.waveform, WAVEFORM)
    assert dataclasses.replace(metadata, golden=METADATA.golden) == METADATA
    assert metadata.golden.probabilities == METADATA.golden.probabilities
    assert bundle.provider == "CPUExecutionProvider"


def test_every_value_is_json_under_its_key() -> None:
    props = METADATA.to_props()
    assert set(props) == {f"earful.{key}" for key in KEYS}
    assert all(json.loads(value) is not None for value in props.values())


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_named(write: Callable[..., Path], key: str) -> None:
    with pytest.raises(ModelError, match=rf"it lacks the metadata earful\.{key};"):
        open_bundle(write({key: None}))


GOLDEN = json.loads(METADATA.to_props()["earful.golden"])
FEATURE_VALUES = FEATURES.to_dict()
ODD_BYTES = base64.b64encode(b"abc").decode()  # no whole number of 16-bit samples
NAN, INFINITY, HUGE = float("nan"), float("inf"), 10**400
QUANTIZATION = Quantization(8, 4, 0.75, 1.0, 1, 0).to_dict()
MALFORMED: dict[str, list[Any]] = {
    "labels": [[], "abc", [1, 2, 3], ["a", "b", "a"]],
    "features": [
        {},
        [],
        FEATURE_VALUES | {"n_mels": 0},
        FEATURE_VALUES | {"colour": 1},
        FEATURE_VALUES | {"n_fft": "512"},
        FEATURE_VALUES | {"clip_seconds": HUGE},
    ],
    "feature_kind": ["chroma", 1, ["mfcc"]],
    "architecture": ["cnn", {}, {"name": 1}],
    "training_data_hash": [7, None],
    "metrics": [[], None],
    "created": [None, 2026],
    "temperature": [0, -1, NAN, "1", INFINITY, None, True, HUGE],
    "rejection_threshold": [-0.1, 1.1, True, "0", NAN],
    "score_kind": [None, "tanh", ["softmax"], 1],
    "golden": [
        None,
        {},
        [1],
        GOLDEN | {"probabilities": [HUGE]},
        GOLDEN | {"probabilities": ["a"]},
        GOLDEN | {"probabilities": None},
        GOLDEN | {"waveform_int16_base64": "*"},
        GOLDEN | {"waveform_int16_base64": 5},
        GOLDEN | {"waveform_int16_base64": ODD_BYTES},
    ],
    "quantization": [
        None,
        {},
        *(QUANTIZATION | {key: "1"} for key in QUANTIZATION),
        *(QUANTIZATION | {key: True} for key in QUANTIZATION),
        *(QUANTIZATION | {key: -1} for key in QUANTIZATION),
        QUANTIZATION | {"clips": 4.0},
        QUANTIZATION | {"accuracy": NAN},
    ],
}


@pytest.mark.parametrize(
    ("key", "value"), [(key, value) for key, values in MALFORMED.items() for value in values]
)
def test_a_malformed_value_is_refused_and_its_key_named(key: str, value: Any) -> None:
    props = METADATA.to_props() | {f"earful.{key}": json.dumps(value)}
    with pytest.raises(ModelError, match=rf"malformed metadata earful\.{key}: .+"):
        parse_metadata(props, Path("model.onnx"))


def test_older_files_are_refused_with_the_command_that_exports_again() -> None:
    """Of an older schema, and of the former name: its keys had another prefix."""
    props = METADATA.to_props()
    older = {key: value for key, value in props.items() if key != "earful.score_kind"}
    former = {key.replace("earful.", "another."): value for key, value in props.items()}
    schema = "this version reads schema 4, found "
    for old, reason in (
        (older | {"earful.schema_version": "2"}, f"{schema}'2'"),
        (props | {"earful.schema_version": "3"}, f"{schema}'3'"),
        (props | {"earful.schema_version": '"4"'}, f"{schema}'\"4\"'"),
        (props | {"earful.schema_version": "[" * 1000}, f"{schema}'{'[' * 20}'"),
        (older, "it lacks the metadata earful.score_kind"),
        (former, "it has no metadata of Earful"),
        ({}, "it has no metadata of Earful"),
    ):
        with pytest.raises(ModelError) as refused:
            parse_metadata(old, Path("m.onnx"))
        assert str(refused.value) == (
            f"m.onnx was not written by this version of Earful: {reason}; export its run again: "
            "`earful export RUN --out model.onnx`"
        )


def test_labels_of_a_sigmoid_model_contain_no_separator() -> None:
    """In a multi-label prediction ``a|b`` is two labels; in a softmax model it is one."""
    props = METADATA.to_props() | {"earful.labels": '["a|b", "c", "d"]'}
    assert parse_metadata(props, Path("model.onnx")).labels[0] == "a|b"
    with pytest.raises(ModelError, match="is a multi-label model, whose labels cannot contain"):
        parse_metadata(props | {"earful.score_kind": '"sigmoid"'}, Path("model.onnx"))


@pytest.mark.parametrize("key", sorted(set(KEYS) - {"schema_version"}))
@pytest.mark.parametrize("text", ["", "{", "\x00", "yes", "[" * 100_000])
def test_a_value_that_is_not_json_is_refused_and_its_key_named(key: str, text: str) -> None:
    props = METADATA.to_props() | {f"earful.{key}": text}
    with pytest.raises(ModelError, match=rf"malformed metadata earful\.{key}: .+"):
        parse_metadata(props, Path("model.onnx"))


@pytest.mark.parametrize(
    ("golden", "message"),
    [
        ({"probabilities": [0.9, 0.05, 0.05]}, "does not reproduce its golden example"),
        ({"probabilities": [float("nan")] * 3}, "does not reproduce its golden example"),
        ({"probabilities": [1.0]}, "golden probabilities"),
        ({"probabilities": []}, "golden probabilities"),
        ({"waveform_int16_base64": ""}, "golden waveform of 0 samples, expected"),
    ],
)
def test_golden_example_mismatch_is_refused(
    write: Callable[..., Path], golden: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        open_bundle(write({"golden": json.dumps(GOLDEN | golden)}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "input"}, "has inputs .*'input'.*expected .*'waveform'"),
        ({"samples": 1999}, r"\[1999\].*expected .*\[2000\]"),
        ({"embedding": "features"}, "outputs .*'features'"),
        ({"batch": 1}, "fixed batch size"),
        ({"outputs": 2}, "3 labels"),
    ],
)
def test_graph_contradicting_its_metadata_is_refused(
    write: Callable[..., Path], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        open_bundle(write(**changes))


@pytest.mark.parametrize(
    "content", [b"", b"RIFF....WAVE", b"\x89PNG\r\n\x1a\n", bytes(1000), b"\x08\x09\x12\x04"]
)
def test_content_other_than_onnx_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is not a usable ONNX model"):
        open_bundle(path)


def test_a_truncated_file_is_refused(write: Callable[..., Path]) -> None:
    whole = write().read_bytes()
    for length in range(0, len(whole), len(whole) // 23):
        path = write()
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            open_bundle(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file"):
        open_bundle(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="is not a model file: it is a folder"):
        open_bundle(tmp_path)


def test_a_model_is_found_by_its_file_name(write: Callable[..., Path]) -> None:
    path = write()
    assert find_model(str(path)) == path
    for name in ("", "none.onnx", "x" * 300, str(path.parent)):
        with pytest.raises(EarfulError, match="--model"):
            find_model(name)
