"""Files to predictions on one thread: Earful compared with a librosa loop on the same network.

    uv run python tests/benchmarks/single_thread_throughput.py [--data FOLDER] [--model model.onnx]

The loop is ``librosa.load`` + ``librosa.feature`` + ONNX Runtime, file by file, on the graph of the
same model without its front end. Rounds of both alternate; medians are printed. Without --data,
8 kHz clips are synthesised; without --model, a ``cnn`` with random weights is used: neither affects
the speed. Target: at least 2,000 files/s, and 3.5 times the loop.
"""

import os

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import librosa
import numpy as np
import onnx
import soundfile
import torch

from earful.data.audio.windows import loudest_clip
from earful.data.features.config import FeatureConfig
from earful.models.bundle.bundle import open_bundle, open_session
from earful.models.bundle.metadata import GoldenExample, ModelMetadata
from earful.models.layers.normalise import NormalisedNetwork, WaveformClassifier
from earful.models.networks.zoo import build_network
from earful.service.batch.classify_inputs import classify_inputs
from earful.service.batch.inputs import Input
from earful.service.batch.items import ClassifyOptions
from earful.service.batch.rows import ResultRow
from earful.service.classifier import Classifier
from earful.training.export.export import to_onnx

LABELS = tuple("0123456789")


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        data = arguments.data or synthesise(Path(folder))
        model = arguments.model or random_model(Path(folder))
        files = sorted(data.rglob("*.wav"))[: arguments.files]
        classifier, loop = Classifier.open(model), librosa_loop(model)

        def ours(paths: Sequence[Path]) -> list[str]:
            events = classify_inputs(
                classifier, [Input(str(path)) for path in paths], ClassifyOptions()
            )
            return [event.label for event in events if isinstance(event, ResultRow)]

        for classify in (ours, loop):
            classify(files[:64])  # imports, caches, librosa's compiled functions
        rounds = [(timed(ours, files), timed(loop, files)) for _ in range(arguments.rounds)]
    report(files, classifier.metadata, rounds)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of WAV files")
    parser.add_argument("--model", type=Path, help="model file")
    parser.add_argument("--files", type=int, default=3000, help="maximum number of files")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of each")
    return parser.parse_args()


TimedLabels = tuple[float, list[str]]


def timed(classify: Callable[[Sequence[Path]], list[str]], files: Sequence[Path]) -> TimedLabels:
    """(files/s, labels)."""
    started = time.perf_counter()
    labels = classify(files)
    return len(files) / (time.perf_counter() - started), labels


def librosa_loop(model: Path) -> Callable[[Sequence[Path]], list[str]]:
    """Load, features, network, one file after the other."""
    metadata = open_bundle(model).metadata
    config, labels = metadata.features, metadata.labels
    graph, features_name = without_front_end(model)
    session = open_session(graph, "cpu", model)

    def features(waveform: np.ndarray) -> np.ndarray:
        mel = librosa.feature.melspectrogram(
            y=waveform,
            sr=config.sample_rate_hz,
            n_fft=config.n_fft,
            hop_length=config.hop_length,
            win_length=config.win_length,
            n_mels=config.n_mels,
            fmin=config.f_min_hz,
            fmax=config.f_max_hz,
        )
        log_mel = librosa.power_to_db(mel, top_db=None)
        if metadata.feature_kind == "log_mel":
            return log_mel
        return librosa.feature.mfcc(S=log_mel, n_mfcc=config.n_mfcc)

    def classify(files: Sequence[Path]) -> list[str]:
        predicted = []
        for path in files:
            waveform, _ = librosa.load(path, sr=config.sample_rate_hz)
            clip = loudest_clip(waveform, config.clip_samples)
            inputs = {features_name: features(clip)[None].astype(np.float32)}
            predicted.append(labels[session.run(["probabilities"], inputs)[0][0].argmax()])
        return predicted

    return classify


def without_front_end(model: Path) -> tuple[bytes, str]:
    """The graph after the front end, and the name of its input, the unnormalised features."""
    whole = onnx.load(model)
    [mean] = [w.name for w in whole.graph.initializer if w.name.endswith("classifier.mean")]
    [first] = [node for node in whole.graph.node if mean in node.input]
    [features] = [name for name in first.input if name != mean]
    part = onnx.utils.Extractor(whole).extract_model([features], ["probabilities"])
    return part.SerializeToString(), features


def random_model(folder: Path) -> Path:
    """The four-block network with random weights, as a model file."""
    features = FeatureConfig.for_rate(8_000)
    torch.manual_seed(0)
    network = build_network("cnn", features.n_mfcc, features.frames, len(LABELS), {})
    bins = torch.zeros(features.n_mfcc)
    classifier = NormalisedNetwork(network, bins, bins + 20)
    model = WaveformClassifier(features, "mfcc", classifier, 1.0, "softmax").eval()
    golden = GoldenExample(np.zeros(features.clip_samples, np.int16), ())
    with torch.inference_mode():
        probabilities = model(torch.from_numpy(golden.input()))[0][0].tolist()
    metadata = ModelMetadata(
        labels=LABELS,
        features=features,
        feature_kind="mfcc",
        architecture={"name": "cnn", "options": {}},
        training_data_hash="",
        metrics={},
        created="",
        temperature=1.0,
        rejection_threshold=0.0,
        score_kind="softmax",
        golden=GoldenExample(golden.waveform, tuple(probabilities)),
    )
    graph = to_onnx(model)[0]
    onnx.helper.set_model_props(graph, metadata.to_props())
    path = folder / "random.onnx"
    onnx.save(graph, path)
    return path


def synthesise(folder: Path) -> Path:
    """3,000 clips of 0.3 to 0.7 s at 8 kHz, the duration of spoken digits."""
    generator = np.random.default_rng(0)
    for n in range(3000):
        clip = 0.1 * generator.standard_normal(generator.integers(2400, 5600))
        soundfile.write(folder / f"{n:04}.wav", clip, 8_000)
    return folder


def report(
    files: Sequence[Path],
    metadata: ModelMetadata,
    rounds: Sequence[tuple[TimedLabels, TimedLabels]],
) -> None:
    ours, loop = (statistics.median(r[i][0] for r in rounds) for i in (0, 1))
    ratio = statistics.median(r[0][0] / r[1][0] for r in rounds)
    agreement = np.mean([a == b for a, b in zip(rounds[0][0][1], rounds[0][1][1], strict=True)])
    print(f"machine      {machine()}")
    print(
        f"work         {len(files)} files, {metadata.architecture['name']} on "
        f"{metadata.feature_kind}, {len(rounds)} rounds, one thread"
    )
    print(f"earful       {ours:8,.0f} files/s")
    print(f"librosa loop {loop:8,.0f} files/s")
    print(f"ratio        {ratio:8.2f}  (same label for {100 * agreement:.2f} % of the files)")


def machine() -> str:
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            x.split(":")[1].strip() for x in info.read_text().splitlines() if "model name" in x
        ]
        cpu = names[0] if names else cpu
    load = os.getloadavg()[0]
    return f"{cpu}, {os.cpu_count()} cores, load {load:.1f}, Python {platform.python_version()}"


if __name__ == "__main__":
    main()
