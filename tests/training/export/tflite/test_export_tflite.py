"""``earful export --target tflite``: LiteRT scores as ONNX Runtime does, TFLite Micro too."""

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from earful.data.dataset.dataset import open_dataset
from earful.data.features.config import FeatureConfig
from earful.models.layers.normalise import NormalisedNetwork, WaveformClassifier
from earful.models.networks.zoo import build_network
from earful.service.classifier import Classifier
from earful.training.export import accuracy_drop
from earful.training.export.export import load_best_epoch
from earful.training.export.tflite.compact import shorten_names
from earful.training.export.tflite.convert import convert
from earful.training.export.tflite.graphs import ExportGraph
from earful.training.export.tflite.tflite_model import TfliteModel
from tests.training.commands.conftest import Home, RunCommand, earful, home

__all__ = ["earful", "home"]

pytest.importorskip("litert_torch", reason="needs the group tflite")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]
# Each export takes a quarter of a minute, so each network has those that it is known for.
WAVEFORM, FEATURES = "waveform", "features"
INT8_WAVEFORM, INT8_FEATURES = "int8_waveform", "int8_features"
FLAGS = {
    WAVEFORM: [],
    FEATURES: ["--features-outside"],
    INT8_WAVEFORM: ["--int8", "--max-lost-points", 100],
    INT8_FEATURES: ["--int8", "--features-outside", "--max-lost-points", 100],
}
EXPORTED = {
    "cnn": list(FLAGS),
    "bcresnet": [FEATURES, INT8_FEATURES],
    "tcresnet": [WAVEFORM, INT8_FEATURES],
}

EPOCHS = {"cnn": 40, "bcresnet": 40, "tcresnet": 10}


@dataclass(frozen=True)
class Exports:
    """The exports of one run: as ONNX, and as TFLite by the names of their flags."""

    network: str
    run: Path
    onnx: Path
    files: dict[str, Path]
    printed: dict[str, str]


@pytest.fixture(scope="module", params=EXPORTED)
def exports(
    request: pytest.FixtureRequest,
    home: Home,
    earful: RunCommand,
    tmp_path_factory: pytest.TempPathFactory,
) -> Exports:
    network: str = request.param
    folder = tmp_path_factory.mktemp(network)
    run = folder / "run"
    # Until it tells the labels apart: scores that are all the same would prove nothing, and INT8
    # changes those of an undecided network most.
    some = ("--epochs", EPOCHS[network], "--batch-size", 16, "--device", "cpu")
    trained = earful("train", home.dataset, "--out", run, "--model", network, *some)
    assert trained.exit_code == 0, trained.output
    assert earful("export", run, "--out", folder / "model.onnx").exit_code == 0
    files = {name: folder / f"{name}.tflite" for name in EXPORTED[network]}
    printed = {}
    for name, out in files.items():
        done = earful("export", run, "--target", "tflite", "--out", out, *FLAGS[name])
        assert done.exit_code == 0, (done.output, done.exception)
        printed[name] = done.stdout
    return Exports(network, run, folder / "model.onnx", files, printed)


def waveforms_of(home: Home) -> NDArray[np.float32]:
    return open_dataset(home.dataset).waveforms(slice(None))


def litert_scores(path: Path, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores of LiteRT, called as its documentation has it."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    [given], [gives] = interpreter.get_input_details(), interpreter.get_output_details()
    scores = []
    for clip in inputs:
        interpreter.set_tensor(given["index"], encode(clip[None], given))
        interpreter.invoke()
        scores.append(decode(interpreter.get_tensor(gives["index"]), gives)[0])
    return np.array(scores)


def encode(values: NDArray[np.float32], details: dict[str, object]) -> NDArray[np.generic]:
    if details["dtype"] is np.float32:
        return values
    scale, zero_point = details["quantization"]  # type: ignore[misc]
    return np.clip(np.round(values / scale) + zero_point, -128, 127).astype(np.int8)


def decode(stored: NDArray[np.generic], details: dict[str, object]) -> NDArray[np.float32]:
    scale, zero_point = details["quantization"]  # type: ignore[misc]
    return stored if scale == 0 else (stored.astype(np.float32) - zero_point) * scale


def features_of(run: Path, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
    return ExportGraph(load_best_epoch(run)[1], features_outside=True).inputs(waveforms)


def inputs_of(exports: Exports, name: str, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
    return waveforms if name in {WAVEFORM, INT8_WAVEFORM} else features_of(exports.run, waveforms)


def test_scores_are_those_of_the_onnx_file(exports: Exports, home: Home) -> None:
    waveforms = waveforms_of(home)
    expected = Classifier.open(exports.onnx).run(waveforms)
    for name, path in exports.files.items():
        scores = litert_scores(path, inputs_of(exports, name, waveforms))
        assert np.abs(scores - expected).max() < (0.1 if "int8" in name else 1e-4), name
        assert np.ptp(expected, axis=0).max() > 0.2  # they are not all the same


def test_int8_files_are_small(exports: Exports) -> None:
    sizes = {name: path.stat().st_size for name, path in exports.files.items()}
    assert sizes[INT8_FEATURES] < min(sizes[name] for name in sizes if name != INT8_FEATURES)
    assert exports.network != "bcresnet" or sizes[INT8_FEATURES] < 100_000


def test_with_the_features_outside_all_that_goes_in_and_out_is_int8(exports: Exports) -> None:
    from ai_edge_litert.interpreter import Interpreter

    expected = {
        WAVEFORM: ("waveform", np.float32, "scores", np.float32),
        FEATURES: ("features", np.float32, "scores", np.float32),
        INT8_WAVEFORM: ("waveform", np.float32, "scores", np.float32),
        INT8_FEATURES: ("features", np.int8, "scores", np.int8),
    }
    for name, path in exports.files.items():
        interpreter = Interpreter(model_path=str(path))
        [given], [gives] = interpreter.get_input_details(), interpreter.get_output_details()
        found = given["name"], given["dtype"], gives["name"], gives["dtype"]
        assert found == expected[name]


def test_microcontrollers_compute_the_same(exports: Exports, home: Home) -> None:
    from tflite_micro.python.tflite_micro import runtime

    path = exports.files[INT8_FEATURES]
    inputs = features_of(exports.run, waveforms_of(home))
    micro = runtime.Interpreter.from_file(str(path), arena_size=1 << 20)
    given, gives = micro.get_input_details(0), micro.get_output_details(0)
    parameters = [
        {
            **details,
            "quantization": (
                details["quantization_parameters"]["scales"][0],
                details["quantization_parameters"]["zero_points"][0],
            ),
        }
        for details in (given, gives)
    ]
    scores = []
    for clip in inputs:
        micro.set_input(encode(clip[None], parameters[0]), 0)
        micro.invoke()
        scores.append(decode(micro.get_output(0), parameters[1])[0])
    assert np.abs(np.array(scores) - litert_scores(path, inputs)).max() < 0.05


def test_the_file_says_what_it_is(exports: Exports, home: Home) -> None:
    dataset = open_dataset(home.dataset)
    for name, path in exports.files.items():
        with zipfile.ZipFile(path) as archive:
            assert archive.read("labels.txt").decode().splitlines() == list(dataset.labels)
            said = json.loads(archive.read("earful.json"))
        assert said["architecture"]["name"] == exports.network
        assert said["input"]["is"] == name.removeprefix("int8_")
        assert ("quantization" in said) == name.startswith("int8")


def test_export_prints_size_arena_and_operations(exports: Exports) -> None:
    for name, text in exports.printed.items():
        assert "TFLite Micro needs an arena of" in text
        assert "CONV_2D" in text
        assert "ms a clip in LiteRT" in text
        assert "validation accuracy" in text
        assert ("LiteRT and ONNX Runtime agree" in text) == ("int8" not in name)
        assert ("in TFLite Micro: validation accuracy" in text) == ("features" in name)
    folder = exports.onnx.parent
    for header in (f"{INT8_FEATURES}.h", f"{INT8_FEATURES}_golden.h"):
        assert header in exports.printed[INT8_FEATURES]
        assert (folder / header).is_file()


def test_a_stream_ends_with_the_scores_of_the_clip(
    home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    run, out, onnx = tmp_path / "run", tmp_path / "stream.tflite", tmp_path / "model.onnx"
    quick = ("--epochs", 2, "--batch-size", 16, "--device", "cpu")
    trained = earful("train", home.dataset, "--out", run, "--model", "tcresnet-causal", *quick)
    assert trained.exit_code == 0, trained.output
    assert earful("export", run, "--out", onnx).exit_code == 0
    done = earful("export", run, "--target", "tflite", "--stream", "--out", out)
    assert "takes one frame of features and a state" in done.stdout
    assert "ms a frame in LiteRT" in done.stdout
    assert (tmp_path / "stream_golden.h").is_file()
    waveforms = waveforms_of(home)[:5]
    expected = Classifier.open(onnx).run(waveforms)
    found = stream_scores(out, features_of(run, waveforms))
    assert np.abs(found - expected).max() < 1e-4


def stream_scores(path: Path, clips: NDArray[np.float32]) -> NDArray[np.float32]:
    """Scores after the last frame of each clip (clips, bins, frames), by the file alone."""
    from ai_edge_litert.interpreter import Interpreter

    with zipfile.ZipFile(path) as archive:
        state = json.loads(archive.read("earful.json"))["state"]
    step = Interpreter(model_path=str(path)).get_signature_runner()
    scores = []
    for clip in clips:
        values = {part["name"]: np.full(part["shape"], part["first"], np.float32) for part in state}
        for frame in np.split(clip[None], clip.shape[1], axis=2):
            outputs = step(features=frame, **values)
            values = {part["name"]: outputs[f"next_{part['name']}"] for part in state}
        scores.append(outputs["scores"][0])
    return np.array(scores)


def test_weights_in_another_order_of_memory_are_converted_too() -> None:
    network = build_network("cnn", 40, 63, 3, {})
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    normalised = NormalisedNetwork(network, torch.zeros(40), torch.ones(40))
    model = WaveformClassifier(FeatureConfig(), "log_mel", normalised, 1.0, "softmax").eval()
    graph = ExportGraph(model, features_outside=True)
    content = shorten_names(convert(graph, "cnn"), graph.input_names, graph.output_names)
    features = torch.randn(3, 40, 63)
    with torch.inference_mode():
        expected = graph(features).numpy()
    found = TfliteModel(content, "features").scores(features.numpy())
    assert np.abs(found - expected).max() < 1e-5


def test_a_network_that_looks_ahead_has_no_stream(
    home: Home, earful: RunCommand, tmp_path: Path
) -> None:
    flags = ("--target", "tflite", "--stream", "--out", tmp_path / "model.tflite")
    result = earful("export", home.run, *flags)
    assert "train with --model tcresnet-causal" in str(result.exception)


def test_a_model_that_loses_too_much_is_not_written(
    home: Home, earful: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accuracy_drop, "_SIGNIFICANCE", 1.1)  # any loss is too much, also none
    flags = ("--target", "tflite", "--int8", "--features-outside")
    result = earful("export", home.run, "--out", tmp_path / "model.tflite", *flags)
    assert "INT8 loses" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_network_of_no_layers_is_refused(home: Home, earful: RunCommand, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert earful("train", home.dataset, "--out", run, "--model", "logistic").exit_code == 0
    result = earful("export", run, "--target", "tflite", "--out", tmp_path / "model.tflite")
    assert "logistic is not made of the layers" in str(result.exception)
    assert "networks that are tested are cnn, bcresnet, tcresnet" in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
