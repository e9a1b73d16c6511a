"""The model file: what it says of itself comes back, and whatever is wrong with it is named."""

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
from earful.models.registry.find_model import find_model

FEATURES = dataclasses.replace(FeatureConfig.for_rate(8_000), clip_seconds=0.25)
WAVEFORM = np.linspace(-20_000, 20_000, FEATURES.clip_samples).astype(np.int16)
KEYS = (
    "schema_version", "labels", "features", "feature_kind", "architecture", "training_data_hash",
    "metrics", "created", "temperature", "rejection_threshold", "score_kind",
    "golden",
)  # fmt: skip


def probabilities(waveform: np.ndarray) -> np.ndarray:
    """What the graph below computes: the softmax of the first three samples."""
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
    """The smallest graph with the inputs and outputs of the contract."""
    numbers = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("first", 0), ("last", outputs), ("axis", 1))
    ]
    nodes = [
        helper.make_node("Slice", [source, "first", "last", "axis"], [embedding]),
        helper.make_node("Softmax", [embedding], ["probabilities"], axis=1),
    ]
    floats = TensorProto.FLOAT
    built = helper.make_graph(
        nodes, "tiny",
        [helper.make_tensor_value_info(source, floats, [batch, samples])],
        [helper.make_tensor_value_info("probabilities", floats, [batch, outputs]),
         helper.make_tensor_value_info(embedding, floats, [batch, outputs])],
        numbers,
    )  # fmt: skip
    return helper.make_model(built, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a model file with METADATA, some of its properties replaced (None: left out)."""

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
    found = bundle.metadata
    np.testing.assert_array_equal(found.golden.waveform, WAVEFORM)
    same = dataclasses.replace(found, golden=METADATA.golden)
    assert same == METADATA
    assert found.golden.probabilities == METADATA.golden.probabilities
    assert bundle.provider == "CPUExecutionProvider"


def test_every_value_is_json_under_the_keys_of_the_contract() -> None:
    props = METADATA.to_props()
    assert set(props) == {f"earful.{key}" for key in KEYS}
    assert all(json.loads(value) is not None for value in props.values())


@pytest.mark.parametrize("key", KEYS)
def test_a_missing_key_is_named(write: Callable[..., Path], key: str) -> None:
    with pytest.raises(ModelError, match=rf"lacks the metadata earful\.{key};"):
        open_bundle(write({key: None}))


GOLDEN = json.loads(METADATA.to_props()["earful.golden"])
MALFORMED: list[tuple[str, Any]] = [
    ("schema_version", 1), ("schema_version", "1"), ("schema_version", None),
    ("labels", []), ("labels", "abc"), ("labels", [1, 2, 3]), ("labels", ["a", "b", "a"]),
    ("features", {}), ("features", []), ("features", FEATURES.to_dict() | {"n_mels": 0}),
    ("features", FEATURES.to_dict() | {"colour": 1}),
    ("features", FEATURES.to_dict() | {"n_fft": "512"}),
    ("features", FEATURES.to_dict() | {"clip_seconds": 10**400}), ("temperature", 10**400),
    ("feature_kind", "chroma"), ("feature_kind", 1), ("feature_kind", ["mfcc"]),
    ("architecture", "cnn"), ("architecture", {}), ("architecture", {"name": 1}),
    ("training_data_hash", 7), ("training_data_hash", None),
    ("metrics", []), ("metrics", None),
    ("created", None), ("created", 2026),
    ("temperature", 0), ("temperature", -1), ("temperature", float("nan")), ("temperature", "1"),
    ("temperature", float("inf")), ("temperature", None), ("temperature", True),
    ("rejection_threshold", -0.1), ("rejection_threshold", 1.1), ("rejection_threshold", True),
    ("rejection_threshold", "0"), ("rejection_threshold", float("nan")),
    ("score_kind", None), ("score_kind", "tanh"), ("score_kind", ["softmax"]), ("score_kind", 1),
    ("golden", None), ("golden", {}), ("golden", [1]),
    ("golden", GOLDEN | {"probabilities": [10**400]}),
    ("golden", GOLDEN | {"waveform_int16_base64": "*"}),
    ("golden", GOLDEN | {"waveform_int16_base64": 5}),
    ("golden", GOLDEN | {"waveform_int16_base64": base64.b64encode(b"abc").decode()}),
    ("golden", GOLDEN | {"probabilities": ["a"]}), ("golden", GOLDEN | {"probabilities": None}),
]  # fmt: skip


@pytest.mark.parametrize(("key", "value"), MALFORMED)
def test_a_malformed_value_is_refused_and_its_key_named(key: str, value: Any) -> None:
    props = METADATA.to_props() | {f"earful.{key}": json.dumps(value)}
    with pytest.raises(ModelError, match=rf"malformed metadata earful\.{key}: .+"):
        parse_metadata(props, Path("model.onnx"))


def test_previous_schema_without_scores_is_read_as_softmax() -> None:
    """Files of it, the shipped model among them, are read; none of a later one may leave it out."""
    props = METADATA.to_props()
    del props["earful.score_kind"]
    read = parse_metadata(props | {"earful.schema_version": "2"}, Path("model.onnx"))
    assert read == dataclasses.replace(METADATA, golden=read.golden)
    assert (
        parse_metadata(
            METADATA.to_props() | {"earful.score_kind": '"sigmoid"'}, Path("model.onnx")
        ).score_kind
        == "sigmoid"
    )


def test_labels_of_a_sigmoid_model_hold_no_separator() -> None:
    """``a|b`` in an answer are two labels; of a softmax model they were one, and are that still."""
    props = METADATA.to_props() | {"earful.labels": '["a|b", "c", "d"]'}
    assert parse_metadata(props, Path("model.onnx")).labels[0] == "a|b"
    with pytest.raises(ModelError, match="says several labels at once"):
        parse_metadata(props | {"earful.score_kind": '"sigmoid"'}, Path("model.onnx"))


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("text", ["", "{", "\x00", "yes", "[" * 100_000])
def test_a_value_that_is_no_json_is_refused_and_its_key_named(key: str, text: str) -> None:
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
        ({"waveform_int16_base64": ""}, "golden waveform of the wrong length"),
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
        ({"source": "input"}, "has inputs .*'input'.*wanted .*'waveform'"),
        ({"samples": 1999}, r"\[1999\].*wanted .*\[2000\]"),
        ({"embedding": "features"}, "outputs .*'features'"),
        ({"batch": 1}, "batches of one size"),
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
def test_what_is_no_onnx_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="is no usable ONNX model"):
        open_bundle(path)


def test_a_file_cut_short_anywhere_is_refused(write: Callable[..., Path]) -> None:
    whole = write().read_bytes()
    for length in range(0, len(whole), len(whole) // 23):
        path = write()
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            open_bundle(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model file"):
        open_bundle(tmp_path / "none.onnx")
    with pytest.raises(ModelError, match="cannot read the model"):
        open_bundle(tmp_path)


def test_a_model_is_found_by_its_file_name(write: Callable[..., Path]) -> None:
    path = write()
    assert find_model(str(path)) == path
    for name in ("", "none.onnx", "x" * 300, str(path.parent)):
        with pytest.raises(EarfulError, match="--model"):
            find_model(name)
