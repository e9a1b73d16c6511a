"""``earful export --int8``: smaller, as accurate, told as what it is, or refused."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest

from earful.data.dataset.dataset import open_dataset
from earful.models.bundle.bundle import open_bundle
from earful.service.classifier import Classifier
from earful.training.export import int8
from earful.training.export.int8 import calibration_rows, check_loss
from earful.training.export.quantize_graph import QuantizationError
from tests.training.commands.conftest import Home, RunCommand


@pytest.fixture(scope="module")
def int8_model(home: Home, earful: RunCommand, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("int8") / "model.onnx"
    result = earful("export", home.run, "--out", out, "--int8", "--max-lost-points", 20)
    assert result.exit_code == 0, result.output
    assert "INT8" in result.stdout
    return out


def test_it_is_smaller_and_scores_nearly_the_same(home: Home, int8_model: Path) -> None:
    assert int8_model.stat().st_size < 0.8 * home.model.stat().st_size
    clips = open_dataset(home.dataset).waveforms(slice(None))
    expected, found = (Classifier.open(path).run(clips)[0] for path in (home.model, int8_model))
    assert np.abs(found - expected).max() < 0.1


def test_the_front_end_and_the_last_layer_stay_float(int8_model: Path) -> None:
    types = {tensor.name: tensor.data_type for tensor in onnx.load(int8_model).graph.initializer}
    floats = {name for name, kind in types.items() if kind == onnx.TensorProto.FLOAT}
    assert any("extractor" in name for name in floats)
    assert any(name.endswith("head.weight") for name in floats)
    blocks = {
        name: kind for name, kind in types.items() if ".blocks." in name and "weight_q" in name
    }
    assert blocks
    assert set(blocks.values()) == {onnx.TensorProto.INT8}


def test_the_file_says_what_it_is(home: Home, int8_model: Path) -> None:
    quantization = open_bundle(int8_model).metadata.quantization
    assert quantization is not None
    dataset = open_dataset(home.dataset)
    assert quantization.calibration_clips == len(dataset.rows("train"))
    assert quantization.clips == len(dataset.rows("val"))
    lost = quantization.float_accuracy - quantization.accuracy
    assert lost * quantization.clips == pytest.approx(quantization.lost - quantization.won)
    assert open_bundle(home.model).metadata.quantization is None


def test_a_model_that_loses_too_much_is_not_written(
    home: Home, earful: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8, "_SIGNIFICANCE", 1.1)  # any loss is too much, also none
    result = earful("export", home.run, "--out", tmp_path / "model.onnx", "--int8")
    assert "INT8 loses" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_counts_in_points_and_by_the_paired_test(int8_model: Path) -> None:
    quantization = open_bundle(int8_model).metadata.quantization
    assert quantization is not None
    fair = dataclasses.replace(
        quantization, clips=1000, accuracy=0.990, float_accuracy=0.994, lost=5, won=1
    )
    check_loss(fair, 0.5)
    with pytest.raises(QuantizationError, match=r"loses 0\.60 points .* allow more"):
        check_loss(dataclasses.replace(fair, float_accuracy=0.996), 0.5)
    with pytest.raises(QuantizationError, match=r"10 lost, 1 won"):
        check_loss(dataclasses.replace(fair, lost=10), 0.5)


def test_data_that_do_not_fit_are_refused(home: Home, earful: RunCommand, tmp_path: Path) -> None:
    missing = earful("export", home.run, "--out", tmp_path / "m", "--int8", "--data", "nowhere")
    assert "nowhere is missing; give it with --data" in str(missing.exception)
    dataset = open_dataset(home.dataset)
    matrix = dataset.label_matrix.copy()
    matrix[:, 0] = False
    with pytest.raises(QuantizationError, match=f"no training clip of '{dataset.labels[0]}'"):
        calibration_rows(dataclasses.replace(dataset, label_matrix=matrix))
    without = earful("export", home.run, "--out", tmp_path / "m", "--data", home.dataset)
    assert "--data is for --int8 and --target tflite" in str(without.exception)


def test_a_network_without_layers_to_quantise_is_refused(
    home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    assert earful("train", home.dataset, "--out", run, "--model", "logistic").exit_code == 0
    result = earful("export", run, "--out", tmp_path / "model.onnx", "--int8")
    assert "networks that gain are tcresnet" in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_an_int8_model_is_no_run(int8_model: Path, earful: RunCommand, tmp_path: Path) -> None:
    result = earful("export", int8_model, "--out", tmp_path / "again.onnx", "--int8")
    assert "is a model file" in str(result.exception)
