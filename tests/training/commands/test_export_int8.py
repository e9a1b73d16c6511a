"""``earful export --int8``: smaller, as accurate, told as what it is, or refused."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from earful.data.dataset.dataset import open_dataset
from earful.models.bundle.bundle import open_bundle
from earful.service.classifier import Classifier
from earful.training.export import accuracy_drop
from earful.training.export.accuracy_drop import check_accuracy_drop
from earful.training.export.int8_figures import INT8_FILENAME, read_int8_figures
from earful.training.export.quantize_graph import QuantizationError, quantize_graph
from earful.training.export.run_clips import calibration_rows
from earful.training.metrics.paired_accuracy import PairedAccuracy
from earful.training.trainer.checkpoint import METRICS_FILENAME
from tests.training.commands.conftest import Home, RunCommand

pytestmark = pytest.mark.slow


def test_it_is_smaller_and_scores_nearly_the_same(home: Home, int8_model: Path) -> None:
    assert int8_model.stat().st_size < 0.8 * home.model.stat().st_size
    clips = open_dataset(home.dataset).waveforms(slice(None))
    expected, found = (Classifier.open(path).run(clips) for path in (home.model, int8_model))
    assert expected.shape == (len(clips), 3)
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
    monkeypatch.setattr(accuracy_drop, "_SIGNIFICANCE", 1.1)  # any loss is too much, also none
    result = earful("export", home.run, "--out", tmp_path / "model.onnx", "--int8")
    assert "INT8 loses" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_loss_counts_in_points_and_by_the_paired_test() -> None:
    fair = PairedAccuracy(clips=1000, accuracy=0.990, float_accuracy=0.994, lost=5, won=1)
    check_accuracy_drop(fair, 0.5)
    with pytest.raises(QuantizationError, match=r"loses 0\.60 points .* allow more"):
        check_accuracy_drop(dataclasses.replace(fair, float_accuracy=0.996), 0.5)
    with pytest.raises(QuantizationError, match=r"10 lost, 1 won"):
        check_accuracy_drop(dataclasses.replace(fair, lost=10), 0.5)


def test_the_run_keeps_the_figures_and_its_report_shows_them(
    home: Home, int8_model: Path, earful: RunCommand, tmp_path: Path
) -> None:
    figures = read_int8_figures(int8_model.parent / "run")
    assert figures is not None
    assert figures.test is not None
    test = earful("evaluate", int8_model, home.dataset / "test.csv", "--json")
    assert figures.test.accuracy == json.loads(test.stdout)["accuracy"]
    assert figures.file == str(int8_model)
    assert (figures.size_bytes, figures.float_size_bytes) == (
        int8_model.stat().st_size,
        home.model.stat().st_size,
    )
    run = Path(shutil.copytree(int8_model.parent / "run", tmp_path / "run"))
    text = report(earful, run)
    cells = [
        f"<td>{figures.size_bytes / 1000:,.0f}</td>",
        f"<td>{figures.latency_ms:.2f}</td>",
        f"<td>{100 * figures.validation.accuracy:.2f} %</td>",
        f"<td>{100 * figures.test.accuracy:.2f} %</td>",
    ]
    assert re.search(r"<td>INT8</td>\s*" + r"\s*".join(map(re.escape, cells)), text)
    assert f"as INT8 ({int8_model.name})" in text


def test_figures_of_another_epoch_are_not_shown_and_damaged_ones_are_told(
    int8_model: Path, earful: RunCommand, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(int8_model.parent / "run", tmp_path / "run"))
    written = json.loads((run / INT8_FILENAME).read_text())
    (run / INT8_FILENAME).write_text(json.dumps(written | {"best_epoch": 99}))
    text = report(earful, run)
    assert "<h2>INT8" not in text
    assert "The INT8 model is of an earlier epoch; write it again" in text
    assert f"--out {int8_model.name} --int8" in text
    assert str(int8_model.parent) not in text
    (run / INT8_FILENAME).write_text(json.dumps(written | {"latency_ms": "5"}))
    assert f"INT8 is not shown: {run / INT8_FILENAME} is damaged; write it" in report(earful, run)
    (run / INT8_FILENAME).unlink()
    (run / INT8_FILENAME).mkdir()
    text = report(earful, run)
    assert "<h2>INT8" not in text
    assert f"cannot read {run / INT8_FILENAME}: Is a directory" in text


def report(earful: RunCommand, run: Path) -> str:
    result = earful("report", run, "--clips", 0, "--no-noise-test")
    assert result.exit_code == 0, result.output
    return (run / "report.html").read_text("utf-8")


def test_an_unfinished_run_is_said_to_be_one_and_its_test_part_is_not_used(
    home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(home.run, tmp_path / "run"))
    (run / METRICS_FILENAME).unlink()
    out = tmp_path / "model.onnx"
    result = earful("export", run, "--out", out, "--int8", "--max-lost-points", 20)
    assert result.exit_code == 0, result.output
    assert "was stopped before its last epoch" in result.stderr
    figures = read_int8_figures(run)
    assert figures is not None
    assert figures.test is None
    assert "<td>INT8</td>" in report(earful, run)


def test_a_run_that_can_only_be_read_is_exported_and_that_it_was_not_noted_is_said(
    home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(home.run, tmp_path / "run"))
    (run / INT8_FILENAME).mkdir()  # no file can be written there, by root neither
    out = tmp_path / "model.onnx"
    result = earful("export", run, "--out", out, "--int8", "--max-lost-points", 20)
    assert result.exit_code == 0, result.output
    assert "the report will not show it" in result.stderr
    assert open_bundle(out).metadata.quantization is not None


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
    assert "networks that gain are tcresnet and bcresnet" in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_graph_that_the_quantiser_does_not_understand_is_refused(
    home: Home, tmp_path: Path
) -> None:
    graph = onnx.load(home.model)
    graph.graph.node[-1].op_type = "Unheard"
    clips = open_dataset(home.dataset).waveforms(slice(0, 4))
    with pytest.raises(QuantizationError, match=r"cannot quantise this network \(.*Unheard"):
        quantize_graph(graph, clips, tmp_path / "model.onnx")


def test_an_int8_champion_is_not_retrained(
    home: Home, int8_model: Path, earful: RunCommand, tmp_path: Path
) -> None:
    place = ("--registry", tmp_path / "registry")
    data = ("--data", home.dataset)
    added = earful("models", "register", "tones", int8_model, *data, "--promote", *place)
    assert added.exit_code == 0, added.output
    assert "it is INT8, and a retraining gives float32" in added.stderr
    result = earful("retrain", "tones", "--new", home.labels, "--from-scratch", *place)
    assert "version 1 of tones is INT8, and a retraining gives float32" in str(result.exception)


def test_an_int8_model_is_no_run(int8_model: Path, earful: RunCommand, tmp_path: Path) -> None:
    result = earful("export", int8_model, "--out", tmp_path / "again.onnx", "--int8")
    assert "is a model file" in str(result.exception)
