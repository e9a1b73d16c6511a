"""Multi-label data: metrics and reports, and the commands that refuse it."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from sklearn.metrics import confusion_matrix

from earful.data.dataset.dataset import DatasetError, open_dataset
from earful.data.dataset.prepare import prepare
from earful.data.errors import EarfulError
from earful.data.features.config import FeatureConfig
from earful.data.labels.clip import LabelledClips
from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.labels_csv import read_labels
from earful.models.registry.registry import Registry
from earful.models.registry.shipped import SHIPPED_MODEL
from earful.training.data_quality.measure_dataset import measure_dataset
from earful.training.data_quality.run_checks import run_checks
from earful.training.evaluation.evaluator import evaluate_model, write_evaluation
from earful.training.explore.clip_map import build_map
from earful.training.explore.embedding_sources import EmbeddingSources
from earful.training.explore.embeddings import embed_with_model, embed_with_run
from earful.training.export.export import export
from earful.training.metrics.multilabel import (
    MultiLabelMetrics,
    compute_multi_label_metrics,
    multi_label_confusion,
)
from earful.training.releases.register import register
from earful.training.reports.results_report import write_results_report
from earful.training.reports.results_summary import summarise_results
from earful.training.retraining.job import RetrainJob
from earful.training.retraining.plan import RetrainOptions
from earful.training.retraining.plan_retraining import plan_retraining, read_new_clips
from earful.training.runs.run_metrics import measure_split
from earful.training.trainer.checkpoint import BEST_CHECKPOINT, load_checkpoint, rebuild_network
from earful.training.trainer.trainer import FitResult
from tests.fixtures.chords import Chords, train_multi_label
from tests.fixtures.synthetic_audio import noise, wav

TRUE_LABELS = np.array([[1, 1, 0], [1, 0, 0], [0, 1, 1], [0, 0, 1]], bool)
PREDICTED_LABELS = np.array([[1, 1, 0], [0, 1, 0], [0, 1, 0], [1, 0, 1]], bool)
SCORES = np.array([[0.9, 0.8, 0.1], [0.4, 0.6, 0.1], [0.2, 0.7, 0.4], [0.6, 0.1, 0.9]])


def test_multi_label_metrics_match_hand_computed_values() -> None:
    metrics = compute_multi_label_metrics(
        TRUE_LABELS, PREDICTED_LABELS, SCORES, ["x", "x", "y", ""], "abc"
    )
    assert metrics.accuracy == 0.25  # only the first clip has exactly its labels
    assert metrics.per_speaker == {
        "x": {"clips": 2, "accuracy": 0.5},
        "y": {"clips": 1, "accuracy": 0.0},
    }
    assert metrics.per_label["a"] == {"clips": 2, "precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert metrics.per_label["c"]["recall"] == 0.5
    assert metrics.hamming_loss == pytest.approx(4 / 12)
    # a: 0.9 1, 0.6 0, 0.4 1; b: 0.8 1, 0.7 1; c: 0.9 1, 0.4 1
    assert metrics.mean_average_precision == pytest.approx(((1 + 2 / 3) / 2 + 1 + 1) / 3)
    # In the second clip a is missed and b wrongly predicted; in the third c is missed.
    assert metrics.confusion == [[1, 1, 0], [0, 2, 0], [0, 0, 1]]
    assert set(metrics.to_dict()) == {
        "clips",
        "accuracy",
        "accuracy_ci95",
        "macro_f1",
        "per_label",
        "per_speaker",
        "confusion",
        "labels",
        "hamming_loss",
        "mean_average_precision",
    }


def test_single_label_confusion_matches_the_ordinary_matrix() -> None:
    rng = np.random.default_rng(0)
    true_labels, predicted = rng.integers(0, 5, 200), rng.integers(0, 5, 200)
    eye = np.eye(5, dtype=bool)
    np.testing.assert_array_equal(
        multi_label_confusion(eye[true_labels], eye[predicted]),
        confusion_matrix(true_labels, predicted),
    )


@pytest.mark.slow
def test_evaluation_reports_exact_match_and_per_label_figures(
    chords: Chords, tmp_path: Path
) -> None:
    evaluation = evaluate_model(chords.model, chords.dataset / "test.csv", noise_test=True)
    metrics = evaluation.metrics
    assert metrics.accuracy >= 0.8
    assert metrics.labels == ("high", "low", "mid")
    with (chords.dataset / "test.csv").open() as file:
        true_labels = [row["label"].split("|") for row in csv.DictReader(file)]
    for label, row in metrics.per_label.items():
        assert row["clips"] == sum(label in labels for labels in true_labels)
    assert "correct if all its labels are predicted and no other" in evaluation.text()
    assert evaluation.confidence.operating_point.coverage > 0.5
    assert evaluation.confidence.calibration_error < 0.1
    assert max(point.accuracy for point in evaluation.noise_test) >= 0.5
    write_evaluation(evaluation, tmp_path / "report")
    evaluation_json = json.loads((tmp_path / "report" / "evaluation.json").read_text())
    assert evaluation_json["hamming_loss"] <= 0.1
    assert (tmp_path / "report" / "confusion.png").is_file()


@pytest.mark.slow
def test_labels_missing_from_the_model_are_named_and_never_count_as_exact_matches(
    chords: Chords, tmp_path: Path
) -> None:
    with pytest.raises(EarfulError, match="no row has a label of the model"):
        evaluate_model(SHIPPED_MODEL, chords.labels_csv)
    (tmp_path / "a.wav").write_bytes(wav(noise(0.5, 0.1)))
    (tmp_path / "b.wav").write_bytes(wav(noise(0.5, 0.1, 1)))
    (tmp_path / "l.csv").write_text("file,label\na.wav,1|2\nb.wav,2|low\n")
    evaluation = evaluate_model(SHIPPED_MODEL, tmp_path / "l.csv")
    assert evaluation.metrics.accuracy == 0
    assert [problem.code for problem in evaluation.failed] == ["unknown_label"]
    assert any("the model predicts one label per clip" in note for note in evaluation.notes)


def test_run_and_its_exported_model_have_the_same_metrics(chords: Chords) -> None:
    checkpoint = load_checkpoint(chords.run / BEST_CHECKPOINT)
    assert checkpoint.score_kind == "sigmoid"
    result = FitResult(rebuild_network(checkpoint), checkpoint, "cpu", 0)
    trained = measure_split(open_dataset(chords.dataset), result, "test")
    released = evaluate_model(chords.model, chords.dataset / "test.csv").metrics
    assert trained.confusion == released.confusion
    assert trained.accuracy == released.accuracy
    assert isinstance(trained, MultiLabelMetrics)
    assert isinstance(released, MultiLabelMetrics)
    assert trained.hamming_loss == released.hamming_loss


def test_results_report_covers_each_label(chords: Chords, tmp_path: Path) -> None:
    rows = [
        ("a.wav", "low|mid", "0.9", "mid|low"),
        ("b.wav", "low", "0.8", "low|mid"),
        ("c.wav", "high|low", "0.7", "low|mid"),
    ]
    lines = [f"{n},0,1,{label},{score},ok,,{true_labels}" for n, label, score, true_labels in rows]
    header = "filename,start,end,label,score,status,error,expected"
    (tmp_path / "r.csv").write_text("\n".join([header, *lines]) + "\n")
    summary = write_results_report(tmp_path / "r.csv", tmp_path / "r.html")
    assert (summary.labelled, summary.correct) == (3, 1)
    assert summary.labels == {"low": 3, "mid": 1, "high": 1}
    assert summary.confusion == {("low", "low"): 3, ("mid", "mid"): 1, ("mid", "high"): 1}
    assert [row.filename for row in summary.most_confident_errors] == ["b.wav", "c.wav"]
    page = (tmp_path / "r.html").read_text()
    assert page.count('class="bad">expected') >= 2
    assert summarise_results(iter(()), 3).labelled == 0


def test_single_label_comparisons_refuse_label_sets(chords: Chords, tmp_path: Path) -> None:
    dataset = open_dataset(chords.dataset)
    with pytest.raises(DatasetError, match=r"48 clips of .* have several labels.*a map"):
        build_map(dataset, EmbeddingSources(tmp_path / "kept"))
    for embed in (
        lambda: embed_with_model(dataset, chords.model),
        lambda: embed_with_run(dataset, chords.run),
    ):
        with pytest.raises(EarfulError, match=r"is a multi-label (model|run)"):
            embed()


@pytest.mark.slow
def test_label_error_search_skips_multi_label_data_with_a_note(
    chords: Chords, tmp_path: Path
) -> None:
    rows = chords.labels_csv.read_text().splitlines()
    rows[1:3] = [row.replace(",high,", ",high|midd,") for row in rows[1:3]]
    (tmp_path / "l.csv").write_text("\n".join(rows) + "\n")
    measured_clips = measure_dataset(
        read_labels(tmp_path / "l.csv", CsvOptions(chords.labels_csv.parent)),
        lambda done, total: None,
    )
    checks = run_checks(measured_clips, wrong_labels=True, progress=lambda done, total: None)
    assert checks.label_errors.error_rate is None
    assert "clips have several labels" in checks.label_errors.reason
    codes = {finding.code for finding in checks.findings}
    assert "label_error" not in codes
    assert checks.report.by_label["low"] == 48
    typos = [f for f in checks.findings if f.code in ("label_variant", "label_typo")]
    assert {(f.label, f.suggested) for f in typos} <= {("high|midd", "high|mid")}


def test_retraining_refuses_multi_label_models(chords: Chords, tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"))
    register(registry, "chords", chords.model, data=chords.dataset)
    labelled = read_labels(chords.labels_csv)
    job = RetrainJob(registry, "chords", labelled, "test", RetrainOptions(), tmp_path / "work")
    with pytest.raises(EarfulError, match="is a multi-label model, and retraining"):
        plan_retraining(job)
    card = registry.read("chords", registry.version("chords", "champion"), "card.md").decode()
    assert "scores: multi-label, temperature" in card


def test_new_multi_label_clips_are_skipped_and_named_in_retraining(chords: Chords) -> None:
    labelled = read_labels(chords.labels_csv)
    few = LabelledClips(labelled.clips[40:56], (), labelled.columns)
    new_clips, problems = read_new_clips(few, FeatureConfig.for_rate(8_000), "new.csv")
    assert {new_clip.label for new_clip in new_clips} == {"high"}
    assert {problem.code for problem in problems} == {"multiple_labels"}
    assert len(new_clips) + len(problems) == 16


def mix_digits(fsdd: Path, out: Path) -> Path:
    """Write one-second mixes of one real digit or two overlapping ones; labels ``0`` to ``2``."""
    generator = np.random.default_rng(3)
    rows = ["filename,label,speaker"]
    for number in range(240):
        digits = sorted(generator.choice(list("012"), 1 + number % 2, replace=False).tolist())
        whole = np.zeros(8_000, np.float32)
        for start, digit in zip(generator.permutation([0, 3_000]), digits, strict=False):
            repetition = int(generator.integers(50))
            name = f"{digit}_{('jackson', 'theo')[repetition % 2]}_{repetition}.wav"
            clip, _ = soundfile.read(fsdd / "recordings" / name, dtype="float32")
            part = clip[: 8_000 - start]
            whole[start : start + len(part)] += 0.4 * part / max(1e-3, np.abs(part).max())
        soundfile.write(out / f"{number}.wav", whole, 8_000)
        rows.append(f"{number}.wav,{'|'.join(digits)},")
    (out / "labels.csv").write_text("\n".join(rows) + "\n")
    return out / "labels.csv"


@pytest.mark.slow
def test_overlapping_real_digits_are_recognised(fsdd: Path, tmp_path: Path) -> None:
    """From recordings to metrics: better per label than a constant prediction."""
    prepare(read_labels(mix_digits(fsdd, tmp_path)), tmp_path / "dataset", split="random")
    dataset = open_dataset(tmp_path / "dataset")
    assert (dataset.labels, dataset.is_multi_label) == (("0", "1", "2"), True)
    train_multi_label(dataset, tmp_path / "run", epochs=30)
    export(tmp_path / "run", tmp_path / "m.onnx")
    metrics = evaluate_model(tmp_path / "m.onnx", tmp_path / "dataset" / "test.csv").metrics
    share = dataset.label_matrix.mean()
    assert isinstance(metrics, MultiLabelMetrics)
    assert metrics.hamming_loss < 0.7 * min(share, 1 - share)
    assert metrics.mean_average_precision > 0.75
    assert metrics.text().startswith(f"{metrics.clips} clips: accuracy ")
