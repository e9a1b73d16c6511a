"""The C headers hold all that a front end needs: a C program that has nothing else computes it."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch

from earful.data.atomic_write import OutputError
from earful.data.features.config import FeatureConfig
from earful.data.features.kinds import FeatureKind
from earful.models.layers.normalise import NormalisedNetwork, WaveformClassifier
from earful.models.networks.zoo import build_network
from earful.training.export.tflite.c_header import front_end_header, golden_header
from earful.training.export.tflite.graphs import ExportGraph
from earful.training.export.tflite.tflite_error import TfliteError
from earful.training.export.tflite.tflite_model import QuantizationParameters
from earful.training.export.tflite.write_tflite import header_paths

LABELS = ['"quoted" \\ ??/', "ä\n"]
PROGRAM = Path(__file__).with_name("front_end.c")
FLOAT = QuantizationParameters(0.0, 0)


def make_model(config: FeatureConfig, kind: FeatureKind) -> WaveformClassifier:
    network = build_network("cnn", config.n_mels, config.frames, len(LABELS), {})
    mean, std = torch.linspace(-60, -20, config.n_mels), torch.linspace(5, 20, config.n_mels)
    classifier = NormalisedNetwork(network, mean, std)
    return WaveformClassifier(config, kind, classifier, 1.0, "softmax").eval()


def headers(
    config: FeatureConfig, kind: FeatureKind, code: QuantizationParameters = FLOAT
) -> tuple[str, str]:
    model = make_model(config, kind)
    generator = np.random.default_rng(1)
    waveform = generator.integers(-9000, 9000, config.clip_samples, np.int16)
    waveform[: len(waveform) // 4] = 0
    clip = waveform[None].astype(np.float32) / np.float32(32768)
    features = ExportGraph(model, features_outside=True).inputs(clip)[0]
    scores = np.array([0.25, 0.75], np.float32)
    return (
        front_end_header(model, LABELS, (code, code), 0.5, "model_golden.h"),
        golden_header(waveform, features, scores),
    )


def build(folder: Path, texts: tuple[str, str], *flags: str) -> subprocess.CompletedProcess[str]:
    for name, text in zip(("model.h", "model_golden.h"), texts, strict=True):
        (folder / name).write_text(text)
    compiler = shutil.which("gcc") or pytest.skip("needs a C compiler")
    command = [compiler, "-std=c99", "-Wall", "-Wpedantic", "-Werror", "-O2", f"-I{folder}"]
    return subprocess.run(
        [*command, *flags, str(PROGRAM), "-o", str(folder / "front_end"), "-lm"],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("kind", ["mfcc", "log_mel"])
@pytest.mark.parametrize(
    "config",
    [
        FeatureConfig(),
        FeatureConfig(n_fft=512, win_length=399, hop_length=160, f_min_hz=0, clip_seconds=0.7),
    ],
)
def test_a_front_end_in_c_has_the_golden_features(
    config: FeatureConfig, kind: FeatureKind, tmp_path: Path
) -> None:
    built = build(tmp_path, headers(config, kind))
    assert built.returncode == 0, built.stderr
    done = subprocess.run([tmp_path / "front_end"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"features differ by {done.stdout}"


def test_labels_are_the_same_text_in_c(tmp_path: Path) -> None:
    build(tmp_path, headers(FeatureConfig(), "log_mel"))
    source = tmp_path / "labels.c"
    source.write_text(
        '#include <stdio.h>\n#include "model.h"\nint main(void) { for (int i = 0; i < '
        "EARFUL_N_LABELS; i++) { fputs(earful_labels[i], stdout); putchar(0); } return 0; }\n"
    )
    subprocess.run(["gcc", "-std=c99", "-trigraphs", source, "-o", tmp_path / "labels"], check=True)
    done = subprocess.run([tmp_path / "labels"], capture_output=True, check=True)
    assert done.stdout.decode().split("\0")[:-1] == LABELS


def test_int8_is_described_where_the_tensors_have_it() -> None:
    int8, _ = headers(FeatureConfig(), "log_mel", QuantizationParameters(0.25, -3))
    assert "#define EARFUL_INPUT_SCALE 0.25f\n#define EARFUL_INPUT_ZERO_POINT (-3)\n" in int8
    assert "round(feature / EARFUL_INPUT_SCALE)" in int8
    assert "SCALE" not in headers(FeatureConfig(), "log_mel")[0]


def test_the_header_of_a_stream_says_what_the_state_is() -> None:
    model = make_model(FeatureConfig(), "log_mel")
    text = front_end_header(model, LABELS, (FLOAT, FLOAT), 0.5, "golden.h", is_stream=True)
    assert "feature[b] of frame t at [b],\n *    and state_0" in text


def test_quantization_parameters_round_clip_and_give_back() -> None:
    code = QuantizationParameters(0.5, 10)
    stored = code.quantize(np.array([0, 0.3, -100, 100], np.float32))
    assert stored.tolist() == [10, 11, -128, 127]
    assert code.dequantize(stored).tolist() == [0, 0.5, -69, 58.5]
    assert FLOAT.quantize(np.array([0.3], np.float32)).tolist() == [np.float32(0.3)]


def test_features_that_no_header_describes_are_refused() -> None:
    model = make_model(FeatureConfig(), "log_mel")
    model.extractor.kind = "waveform"
    with pytest.raises(TfliteError, match="mfcc and log_mel; leave it out"):
        ExportGraph(model, features_outside=True)


def test_headers_of_another_origin_are_not_replaced(tmp_path: Path) -> None:
    paths = header_paths(tmp_path / "model.tflite")
    assert [path.name for path in paths] == ["model.h", "model_golden.h"]
    paths[0].write_text(headers(FeatureConfig(), "log_mel")[0])
    header_paths(tmp_path / "model.tflite")
    paths[1].write_text("int mine;")
    with pytest.raises(OutputError, match=r"model_golden\.h is there already"):
        header_paths(tmp_path / "model.tflite")
    paths[1].unlink()
    paths[1].mkdir()
    with pytest.raises(OutputError, match=r"model_golden\.h is there already"):
        header_paths(tmp_path / "model.tflite")
    with pytest.raises(OutputError, match=r"model\.h is where a header goes"):
        header_paths(tmp_path / "model.h")
