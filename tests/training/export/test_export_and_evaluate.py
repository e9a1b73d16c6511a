"""The exported file equals PyTorch, and its evaluation counts every clip."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import torch

from earful.data.dataset.dataset import Dataset
from earful.data.errors import EarfulError
from earful.models.bundle.bundle import open_bundle
from earful.models.layers.normalise import WaveformClassifier
from earful.training.config.train_config import TrainConfig
from earful.training.evaluation.evaluator import evaluate_model, write_evaluation
from earful.training.export import export as export_module
from earful.training.export.export import (
    ExportError,
    ExportResult,
    check_parity,
    export,
    load_best_epoch,
    write_onnx,
)
from earful.training.plots.plots import plot_confusion
from earful.training.runs.train_run import train_run
from earful.training.trainer.checkpoint import (
    BEST_CHECKPOINT,
    Checkpoint,
    load_checkpoint,
    rebuild_network,
)
from earful.training.trainer.trainer import fit

NETWORKS = [
    ("cnn", "log_mel", {}, "short_tones"),
    ("crnn", "log_mel", {}, "brief_tones"),
    ("crnn", "mfcc", {"recurrent": "lstm"}, "brief_tones"),
]


@pytest.fixture(scope="module")
def run(tones: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    config = TrainConfig(epochs=25, batch_size=16, learning_rate=3e-3)
    train_run(tones, folder, config)
    return folder


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> ExportResult:
    return export(run, tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="module")
def model(exported: ExportResult) -> Path:
    return exported.path


@pytest.mark.slow
def test_onnx_equals_pytorch_at_any_batch_size(
    run: Path, exported: ExportResult, tones: Dataset
) -> None:
    assert_equals_pytorch(exported, run, tones)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "features", "options", "clips"), NETWORKS)
def test_onnx_of_other_networks_and_features_equals_pytorch(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    name: str,
    features: str,
    options: dict[str, str],
    clips: str,
) -> None:
    dataset = request.getfixturevalue(clips)
    config = TrainConfig(model=name, features=features, epochs=1, options=options)  # type: ignore[arg-type]
    fit(dataset, tmp_path / "run", config)
    exported = export(tmp_path / "run", tmp_path / "model.onnx")
    assert_equals_pytorch(exported, tmp_path / "run", dataset)


def assert_equals_pytorch(exported: ExportResult, run: Path, dataset: Dataset) -> None:
    assert exported.max_difference <= 1e-4
    session = open_bundle(exported.path).session
    checkpoint = load_checkpoint(run / BEST_CHECKPOINT)
    classifier = WaveformClassifier(
        checkpoint.features,
        checkpoint.config.features,
        rebuild_network(checkpoint),
        exported.metadata.temperature,
        "softmax",
    ).eval()
    waveforms = np.array(dataset.array("waveforms")[:5])
    for batch in (waveforms[:1], waveforms):
        probabilities = session.run(["probabilities"], {"waveform": batch})[0]
        with torch.inference_mode():
            expected, _ = classifier(torch.from_numpy(batch))
        np.testing.assert_allclose(probabilities, expected.numpy(), atol=1e-4)


def test_the_file_has_no_sidecar_and_no_fourier_operator(model: Path) -> None:
    graph = onnx.load(model).graph
    assert {node.op_type for node in graph.node}.isdisjoint({"STFT", "DFT", "MelWeightMatrix"})
    assert [path.name for path in model.parent.iterdir()] == ["model.onnx"]


def test_metadata_describes_the_trained_model(model: Path, tones: Dataset) -> None:
    metadata = open_bundle(model).metadata
    assert metadata.labels == ("high", "low", "mid")
    assert metadata.features == tones.features
    assert metadata.training_data_hash == tones.content_hash
    assert metadata.metrics["test"]["clips"] == 12
    assert 0.05 <= metadata.temperature <= 20
    assert 0 < metadata.rejection_threshold < 1


def test_a_finished_run_is_known_as_one(exported: ExportResult) -> None:
    assert exported.finished


def test_drift_is_refused(run: Path, model: Path, tmp_path: Path) -> None:
    _, classifier = load_best_epoch(run)
    with torch.no_grad():
        classifier.classifier.network.head.bias[0] += 1.0
    with pytest.raises(ExportError, match="differ by"):
        check_parity(classifier, model.read_bytes(), tmp_path / "model.onnx")


def test_parity_is_checked_at_batches_of_1_3_and_17(run: Path, model: Path, tmp_path: Path) -> None:
    _, classifier = load_best_epoch(run)
    assert check_parity(classifier, model.read_bytes(), tmp_path / "x.onnx") < 1e-5
    assert export_module.PARITY_BATCHES == (1, 3, 17)


def test_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(EarfulError, match="earful train"):
        export(tmp_path, tmp_path / "model.onnx")


def test_evaluation_counts_every_clip(model: Path, tones_csv: Path) -> None:
    evaluation = evaluate_model(model, tones_csv)
    metrics = evaluation.metrics
    assert metrics.clips == 60 == sum(map(sum, metrics.confusion))
    assert metrics.accuracy >= 0.9
    low, high = metrics.accuracy_ci95
    assert low < metrics.accuracy <= high <= 1.0
    assert sum(row["clips"] for row in metrics.per_speaker.values()) == 60
    assert list(evaluation.to_dict()) == [
        "clips",
        "accuracy",
        "accuracy_ci95",
        "macro_f1",
        "per_label",
        "per_speaker",
        "confusion",
        "labels",
        "failed",
    ]


def test_evaluation_uses_the_test_rows_when_there_are_any(
    model: Path, tones_csv: Path, tmp_path: Path
) -> None:
    rows = [f"{tones_csv.parent}/low_{n}.wav,low,{'test' if n < 3 else 'train'}" for n in range(9)]
    csv_path = tmp_path / "labels.csv"
    csv_path.write_text("\n".join(["filename,label,split", *rows]))
    evaluation = evaluate_model(model, csv_path)
    assert evaluation.metrics.clips == 3
    assert "3 of 9 rows" in evaluation.notes[0]
    assert evaluate_model(model, csv_path, split="all").metrics.clips == 9


def test_bad_rows_files_and_labels_are_listed_and_the_rest_is_evaluated(
    model: Path, tones_csv: Path, tmp_path: Path
) -> None:
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    rows = [
        f"{tones_csv.parent}/low_1.wav,low",
        "missing.wav,low",
        "broken.wav,mid",
        f"{tones_csv.parent}/low_2.wav,loud",
        f"{tones_csv.parent}/low_3.wav,",
    ]
    csv_path = tmp_path / "labels.csv"
    csv_path.write_text("\n".join(["filename,label", *rows]))
    evaluation = evaluate_model(model, csv_path)
    assert evaluation.metrics.clips == 1
    codes = {clip.line: clip.code for clip in evaluation.failed}
    assert codes == {3: "not_found", 4: "unsupported_format", 5: "unknown_label", 6: "bad_row"}
    assert "note: 1 of 4 files are not in" in evaluation.notes[0]


def test_evaluation_without_any_known_label_is_an_error(
    model: Path, tones_csv: Path, tmp_path: Path
) -> None:
    csv_path = tmp_path / "labels.csv"
    csv_path.write_text(f"filename,label\n{tones_csv.parent}/low_1.wav,seven\n")
    with pytest.raises(EarfulError, match="high, low, mid"):
        evaluate_model(model, csv_path)


def test_the_evaluation_report_is_json_and_a_picture(
    model: Path, tones_csv: Path, tmp_path: Path
) -> None:
    evaluation = evaluate_model(model, tones_csv)
    write_evaluation(evaluation, tmp_path / "report")
    written = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    assert written["accuracy"] == evaluation.metrics.accuracy
    assert 0 <= written["confidence"]["calibration_error"] <= 1
    assert "noise_test" not in written
    for name in ("confusion.png", "coverage.png"):
        assert (tmp_path / "report" / name).read_bytes().startswith(b"\x89PNG")


def test_labels_of_any_characters_can_be_drawn(tmp_path: Path) -> None:
    path = tmp_path / "confusion.png"
    plot_confusion([[1, 0], [0, 1]], ["$_$", "a$b^{"], "$x^.onnx", path)
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.fixture
def noise_dir(tmp_path: Path) -> Path:
    """A folder with a recording of noise."""
    folder = tmp_path / "noise"
    folder.mkdir()
    hiss = np.random.default_rng(0).normal(0, 0.1, 4_000)
    soundfile.write(folder / "hiss.wav", hiss, 16_000)
    return folder


@pytest.mark.slow
def test_noise_test_reports_accuracy_per_kind_and_snr(
    model: Path, tones_csv: Path, noise_dir: Path, tmp_path: Path
) -> None:
    evaluation = evaluate_model(model, tones_csv, noise_test=True, noise_dir=noise_dir)
    kinds = {"white", "pink", "brown", "hum", "impulses", "babble", "recorded"}
    assert {point.kind for point in evaluation.noise_test} == kinds
    assert all(point.clips == 60 for point in evaluation.noise_test)
    white = [p.accuracy for p in evaluation.noise_test if p.kind == "white"]
    assert white[0] > white[-1]  # 20 dB against 0 dB
    assert "recorded" in evaluation.text()
    assert 0 <= evaluation.confidence.rejection_rates["recorded noise"] <= 1
    assert evaluation.to_dict()["noise_test"][0]["kind"] == "white"
    write_evaluation(evaluation, tmp_path / "report")
    assert (tmp_path / "report" / "noise.png").read_bytes().startswith(b"\x89PNG")


def test_noise_is_the_same_at_each_evaluation(
    model: Path, tones_csv: Path, noise_dir: Path, tmp_path: Path
) -> None:
    rows = [f"{tones_csv.parent}/low_{n}.wav,low,speaker{n}" for n in range(6)]
    csv_path = tmp_path / "labels.csv"
    csv_path.write_text("\n".join(["filename,label,speaker", *rows]))
    evaluations = [
        evaluate_model(model, csv_path, noise_test=True, noise_dir=noise_dir) for _ in range(2)
    ]
    first, again = (evaluation.noise_test for evaluation in evaluations)
    assert first == again
    assert len({point.accuracy for point in first}) > 1


@pytest.mark.parametrize(
    ("content", "words"), [(b"no sound", "broken.wav cannot be used"), (None, "is silent")]
)
def test_unusable_noise_file_is_named(
    content: bytes | None, words: str, model: Path, tones_csv: Path, tmp_path: Path
) -> None:
    if content is None:
        soundfile.write(tmp_path / "broken.wav", np.zeros(800), 8_000)
    else:
        (tmp_path / "broken.wav").write_bytes(content)
    with pytest.raises(EarfulError, match=words):
        evaluate_model(model, tones_csv, noise_dir=tmp_path)


def test_babble_of_one_speaker_is_refused(model: Path, tones_csv: Path, tmp_path: Path) -> None:
    rows = [f"{tones_csv.parent}/low_{n}.wav,low,alone" for n in range(3)]
    csv_path = tmp_path / "labels.csv"
    csv_path.write_text("\n".join(["filename,label,speaker", *rows]))
    with pytest.raises(EarfulError, match="found one speaker"):
        evaluate_model(model, csv_path, noise_test=True)


def test_negatives_are_evaluated_and_must_be_out_of_vocabulary(
    model: Path, tones_csv: Path, other_tones: Dataset, tmp_path: Path
) -> None:
    csv_path = tmp_path / "negatives.csv"
    csv_path.write_text(f"filename,label\n{tones_csv.parent}/low_1.wav,gong\n")
    with pytest.raises(EarfulError, match="1 negatives are labelled clips of this evaluation"):
        evaluate_model(model, tones_csv, negatives=[csv_path])
    # A folder has no labels, so its files count as other sound.
    evaluation = evaluate_model(model, tones_csv, negatives=[other_tones.folder.parent / "wav"])
    assert evaluation.confidence.other_clips == 60
    assert "of 60 other clips " in evaluation.text()
    with pytest.raises(EarfulError, match=r"60 clips of the model's labels \(20 x 'low'"):
        evaluate_model(model, tones_csv, negatives=[tones_csv])
    with pytest.raises(EarfulError, match=r"60 clips of the model's labels"):
        evaluate_model(model, tones_csv, negatives=[other_tones.folder])


def test_by_speaker_and_by_label_list_them_all(model: Path, tones_csv: Path) -> None:
    evaluation = evaluate_model(model, tones_csv)
    by_speaker, by_label = evaluation.text("speaker"), evaluation.text("label")
    for name in ("speaker0", "speaker3", "4 speakers: mean", "minimum"):
        assert name in by_speaker
    for label in ("low", "mid", "high"):
        assert f"label {label}: F1" in by_label
    assert "speaker0" not in by_label


class NeverTraced(torch.nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        raise AssertionError(f"traced with {features.shape}")


@pytest.fixture
def untraceable(run: Path) -> tuple[Checkpoint, WaveformClassifier]:
    """What ``write_onnx`` needs, with a network that fails when it is traced."""
    checkpoint, classifier = load_best_epoch(run)
    classifier.classifier.network = NeverTraced()
    return checkpoint, classifier


def test_folder_as_output_is_refused_before_tracing(
    run: Path, untraceable: tuple[Checkpoint, WaveformClassifier], tmp_path: Path
) -> None:
    folder = tmp_path / "model.onnx"
    folder.mkdir()
    with pytest.raises(EarfulError, match="folder"):
        write_onnx(run, *untraceable, folder)


def test_damaged_metrics_are_refused_before_tracing(
    untraceable: tuple[Checkpoint, WaveformClassifier], tmp_path: Path
) -> None:
    (tmp_path / "metrics.json").write_text("{}")
    with pytest.raises(EarfulError, match=r"metrics\.json"):
        write_onnx(tmp_path, *untraceable, tmp_path / "model.onnx")


def test_temperature_does_not_change_the_predicted_label(run: Path) -> None:
    checkpoint = load_checkpoint(run / BEST_CHECKPOINT)
    network = rebuild_network(checkpoint)
    waveform = torch.randn(2, checkpoint.features.clip_samples) * 0.1
    parts = (checkpoint.features, "mfcc", network)
    models = [WaveformClassifier(*parts, t, "softmax").eval() for t in (1.0, 2.0)]
    with torch.inference_mode():
        uncalibrated, calibrated = (model(waveform)[0] for model in models)
    assert torch.equal(uncalibrated.argmax(1), calibrated.argmax(1))
    expected = torch.softmax(torch.log(uncalibrated) / 2, dim=1)
    torch.testing.assert_close(expected, calibrated, atol=1e-5, rtol=1e-4)
