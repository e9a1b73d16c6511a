"""The report of a run matches metrics.json, is self-contained, and names what is missing."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from earful.data.dataset.dataset import Dataset, open_dataset
from earful.data.errors import UsageError
from earful.training.cli import build_app
from earful.training.config.train_config import TrainConfig
from earful.training.metrics.calibration import calibration_error, reliability
from earful.training.metrics.multilabel import multi_label_confusion
from earful.training.reports.html_clips import ClipMedia
from earful.training.reports.run_report import predictions as predictions_module
from earful.training.reports.run_report.drawings import layer_health_summary
from earful.training.reports.run_report.page import RunReportOptions, write_run_report
from earful.training.reports.run_report.predictions import (
    measure_in_noise,
    predict_split,
    select_clips,
    split_confidence,
)
from earful.training.reports.run_report.read_run import (
    RunReportError,
    TrainingRun,
    find_dataset,
    read_run,
)
from earful.training.runs.metrics_file import ReconstructionMetrics
from earful.training.runs.run_dataset import RUN_DATASET_FILENAME
from earful.training.runs.train_run import train_run
from earful.training.trainer.checkpoint import EpochRecord
from earful.training.trainer.layer_health import LayerHealth
from earful.training.trainer.trainer import fit
from tests.fixtures.chords import Chords

pytestmark = pytest.mark.slow

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Too few epochs to classify all clips correctly.
CONFIG = TrainConfig(epochs=4, batch_size=16, learning_rate=2e-3, label_smoothing=0.05)
SECTIONS = (
    "Where the model listened",
    "Filters",
    "Calibration",
    "Noise robustness",
    "Most confident errors",
    "Least confident",
    "Confusion",
)
Report = Callable[..., Result]


@pytest.fixture(scope="module")
def run(tones: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run") / "<b>run"
    train_run(tones, folder, CONFIG)
    return folder


@pytest.fixture(scope="module")
def metrics(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / "metrics.json").read_text()))


@pytest.fixture(scope="module")
def page(run: Path, tones: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete report."""
    out = tmp_path_factory.mktemp("page") / "report.html"
    assert write_run_report(run, out, RunReportOptions(tones.folder, clips=3)) == []
    return out


def earful(*arguments: object) -> Result:
    return CliRunner().invoke(build_app(), ["report", *map(str, arguments)])


def test_page_matches_metrics_json(page: Path, metrics: dict[str, Any]) -> None:
    text, test = page.read_text("utf-8"), metrics["test"]
    assert f"<b>{100 * test['accuracy']:.2f} %</b>test accuracy" in text
    assert f"<b>{test['macro_f1']:.4f}</b>" in text
    assert f"<b>{metrics['parameters']:,}</b>" in text
    for speaker, row in test["per_speaker"].items():
        cells = rf"{speaker}</td><td>{row['clips']}</td><td>{100 * row['accuracy']:.1f} %"
        assert re.search(cells, text)
    assert '<b>0.05</b> <span class="soft">default 0</span>' in text  # label_smoothing
    assert "<b>adam</b>" not in text
    confusion = re.findall(r"--share: [\d.]+\">(\d*)</td>", text)
    assert [int(n or 0) for n in confusion] == [n for row in test["confusion"] for n in row]


def test_page_is_self_contained_and_escapes_names(page: Path) -> None:
    text = page.read_text("utf-8")
    # Charts refer to their own parts.
    assert not re.findall(r"""(?:src|href)=["'](?!data:|#m[0-9a-f]{10}")""", text)
    assert "<b>run" not in text
    assert "&lt;b&gt;run" in text
    clips = text[text.index("<h2>Least confident") :]
    assert clips.count("data:audio/wav") == 3
    assert "Noise robustness" in text
    assert text.count("<svg") >= 7


def test_predictions_match_the_metrics_of_the_run(
    run: Path, tones: Dataset, metrics: dict[str, Any]
) -> None:
    predictions = predict_split(read_run(run), tones, "test")
    assert predictions.accuracy == metrics["test"]["accuracy"]
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (tones.targets[predictions.rows], predictions.predicted.argmax(axis=1)), 1)
    assert confusion.tolist() == metrics["test"]["confusion"]


def test_worst_clips_are_confident_mistakes_then_uncertain_correct_ones(
    run: Path, tones: Dataset
) -> None:
    predictions = predict_split(read_run(run), tones, "test")
    incorrect = np.arange(len(predictions.rows)) % 3 == 0
    predictions = replace(predictions, expected=predictions.predicted ^ incorrect[:, None])
    mistakes, least_confident = select_clips(predictions, tones, clips=2, max_media_bytes=10**9)
    assert [clip.score for clip in mistakes] == sorted(
        predictions.confidence[incorrect], reverse=True
    )[:2]
    names = {clip.filename for clip in mistakes}
    other_scores = [
        score
        for score, row in zip(predictions.confidence, predictions.rows, strict=True)
        if tones.clips["filename"][row] not in names
    ]
    assert [clip.score for clip in least_confident] == sorted(other_scores)[:2]


def test_audio_stops_at_the_size_limit_of_the_page(run: Path, tones: Dataset) -> None:
    predictions = predict_split(read_run(run), tones, "test")
    predictions = replace(predictions, expected=predictions.predicted)

    def media_within(max_bytes: int) -> list[ClipMedia]:
        return [clip.media for clip in select_clips(predictions, tones, 4, max_bytes)[1]]

    def size(media: ClipMedia) -> int:
        return len(media.audio) + len(media.spectrogram)

    complete = media_within(10**9)
    limit = size(complete[0]) + size(complete[1]) + len(complete[2].spectrogram)
    clips = media_within(limit)
    assert [bool(clip.audio) for clip in clips] == [True, True, False, False]
    assert [bool(clip.spectrogram) for clip in clips] == [True, True, True, False]
    assert sum(map(size, clips)) == limit
    assert all("--audio-mb" in clip.missing for clip in clips[2:])
    assert [size(clip) for clip in media_within(0)] == [0] * 4


def test_clip_without_audio_has_no_player(run: Path, tones: Dataset, tmp_path: Path) -> None:
    predictions = predict_split(read_run(run), tones, "test")
    [clip] = select_clips(predictions, tones, 1, 10**9)[1]
    size = len(clip.media.spectrogram)
    options = RunReportOptions(tones.folder, clips=2, max_media_bytes=2 * size, noise_test=False)
    write_run_report(run, tmp_path / "r.html", options)
    text = (tmp_path / "r.html").read_text()
    assert text.count("<audio") == text.count("data:audio/wav")
    assert "no audio" in text


def test_noise_test_uses_a_sample_of_large_sets(
    run: Path, tones: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(predictions_module, "MAX_NOISE_CLIPS", 5)
    noise = measure_in_noise(read_run(run), tones, "test", lambda done, total: None)
    assert (noise.clips, noise.total_clips) == (5, len(tones.rows("test")))
    assert {point.clips for point in noise.points} == {5}
    assert [kind for kind, _ in noise.rows][:3] == ["white", "pink", "brown"]
    assert sum(len(points) for _, points in noise.rows) == len(noise.points) == 30


# --- multi-label runs ---


@pytest.fixture(scope="module")
def bce_run(chords: Chords, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bce") / "run"
    train_run(open_dataset(chords.dataset), folder, replace(CONFIG, loss="bce", epochs=8))
    return folder


def test_multi_label_run_has_every_section(bce_run: Path, chords: Chords, tmp_path: Path) -> None:
    assert (
        write_run_report(bce_run, tmp_path / "r.html", RunReportOptions(chords.dataset, clips=3))
        == []
    )
    text = (tmp_path / "r.html").read_text()
    for title in SECTIONS:
        assert f"<h2>{title}</h2>" in text
    assert "label frequency by score" in text
    assert "A clip is correct when exactly its labels are predicted" in text
    assert "that of the column wrongly predicted" in text
    assert text.count("rows are true labels, columns predicted ones") == 1
    clips = text[text.index("<h2>Most confident errors") :]
    assert clips.count("data:audio/wav") == 6
    shares = [float(share) for share in re.findall(r"--share: ([\d.]+)", text)]
    assert max(shares) <= 1


def test_multi_label_predictions_match_the_metrics_of_the_run(
    bce_run: Path, chords: Chords
) -> None:
    dataset, read = open_dataset(chords.dataset), read_run(bce_run)
    predictions = predict_split(read, dataset, "test")
    assert read.metrics is not None
    assert predictions.accuracy == read.metrics.test_of_classifier.accuracy < 1
    assert (
        multi_label_confusion(predictions.expected, predictions.predicted).tolist()
        == read.metrics.test_of_classifier.confusion
    )
    mistakes, least_confident = select_clips(predictions, dataset, clips=2, max_media_bytes=10**9)
    assert all(clip.predicted != clip.label for clip in mistakes)
    assert any("|" in clip.predicted for clip in (*mistakes, *least_confident))
    listed = predictions.rows[
        dataset.clips["filename"].iloc[predictions.rows] == mistakes[0].filename
    ]
    nth = predictions.rows.tolist().index(int(listed[0]))
    predicted_scores = [
        predictions.scores[nth, dataset.labels.index(name)]
        for name in mistakes[0].predicted.split("|")
    ]
    assert mistakes[0].score == min(predicted_scores)
    noise = measure_in_noise(read, dataset, "test", lambda done, total: None)
    assert noise.clean_accuracy == predictions.accuracy
    assert read.best.calibration is not None
    confidence = split_confidence(predictions, read.best.calibration.threshold)
    assert sum(bin_.clips for bin_ in confidence.bins) == predictions.scores.size
    assert confidence.curve[0].accuracy == predictions.accuracy


def test_single_label_bce_run_has_every_section_and_no_wrong_note(
    tones: Dataset, tmp_path: Path
) -> None:
    train_run(tones, tmp_path / "run", replace(CONFIG, loss="bce"))
    assert (
        write_run_report(tmp_path / "run", tmp_path / "r.html", RunReportOptions(tones.folder))
        == []
    )
    text = (tmp_path / "r.html").read_text()
    for title in ("Calibration", "Noise robustness", "Least confident"):
        assert f"<h2>{title}</h2>" in text
    assert "Each label has its own sigmoid output" in text
    assert "several labels" not in text


# --- unfinished runs, missing and different datasets ---


def test_unfinished_run_is_reported_without_its_test_split(tones: Dataset, tmp_path: Path) -> None:
    result = fit(tones, tmp_path, replace(CONFIG, epochs=2))
    notes = write_run_report(
        tmp_path, tmp_path / "r.html", RunReportOptions(tones.folder, noise_test=False)
    )
    text = (tmp_path / "r.html").read_text()
    assert len(notes) == 1
    assert "not finished: 2 of at most 2 epochs" in notes[0]
    accuracy = result.checkpoint.best.val_accuracy
    assert accuracy is not None
    assert f"<b>{100 * accuracy:.2f} %</b>validation accuracy of" in text
    assert "test accuracy" not in text
    assert "Least confident" in text


def test_continued_run_counts_as_unfinished(tones: Dataset, tmp_path: Path) -> None:
    train_run(tones, tmp_path, replace(CONFIG, epochs=1))
    assert read_run(tmp_path).metrics is not None
    fit(tones, tmp_path, replace(CONFIG, epochs=2), resume=True)
    assert read_run(tmp_path).metrics is None


def test_report_without_the_dataset_has_metrics_but_no_clips(run: Path, tmp_path: Path) -> None:
    """The dataset is unknown only if neither metrics.json nor the run's own file records it."""
    bare = shutil.copytree(run, tmp_path / "bare")
    metrics = json.loads((bare / "metrics.json").read_text())
    metrics.pop("dataset", None)
    (bare / "metrics.json").write_text(json.dumps(metrics))
    (bare / RUN_DATASET_FILENAME).unlink()
    notes = write_run_report(bare, tmp_path / "r.html", RunReportOptions())
    assert "--dataset" in notes[0]
    text = (tmp_path / "r.html").read_text()
    assert "test accuracy" in text
    assert "Confusion" in text
    assert "<audio" not in text


def test_dataset_recorded_in_metrics_json_is_found(
    run: Path, tones: Dataset, other_tones: Dataset, tmp_path: Path
) -> None:
    read = read_run(run)
    assert read.metrics is not None
    with_dataset = replace(read, metrics=replace(read.metrics, dataset=str(tones.folder)))
    dataset, reason = find_dataset(with_dataset, None)
    assert (dataset and dataset.content_hash, reason) == (tones.content_hash, "")
    for folder, message in ((other_tones.folder, "content hash"), (tmp_path, "is not a dataset")):
        with_dataset = replace(read, metrics=replace(read.metrics, dataset=str(folder)))
        dataset, reason = find_dataset(with_dataset, None)
        assert dataset is None
        assert message in reason


def test_different_dataset_is_refused(run: Path, other_tones: Dataset, tones: Dataset) -> None:
    with pytest.raises(RunReportError, match=r"is not the dataset .* was trained on: content hash"):
        find_dataset(read_run(run), other_tones.folder)
    read = read_run(run)
    elsewhere = replace(read.best, dataset_hash=f"{tones.content_hash}/fold1:abc")
    with pytest.raises(RunReportError, match="a different split"):
        find_dataset(replace(read, best=elsewhere), tones.folder)
    with_extra = replace(read.best, dataset_hash=f"{tones.content_hash}+extra")
    assert find_dataset(replace(read, best=with_extra), tones.folder)[0] is not None


def test_autoencoder_report_has_no_labels(tones: Dataset, tmp_path: Path) -> None:
    config = TrainConfig(model="autoencoder", features="log_mel", epochs=1)
    metrics = train_run(tones, tmp_path / "run", config)
    assert (
        write_run_report(tmp_path / "run", tmp_path / "r.html", RunReportOptions(tones.folder))
        == []
    )
    text = (tmp_path / "r.html").read_text()
    assert metrics is not None
    assert isinstance(metrics.test, ReconstructionMetrics)
    assert f"<b>{metrics.test.reconstruction_error:.4f}</b>" in text
    assert "Confusion" not in text


# --- the command ---


def test_command_distinguishes_runs_results_and_other_files(
    run: Path, tones: Dataset, tmp_path: Path
) -> None:
    done = earful(run, "--dataset", tones.folder, "--no-noise-test", "--out", tmp_path / "r.html")
    assert done.exit_code == 0
    assert "r.html: " in done.stderr
    assert "Noise robustness" not in (tmp_path / "r.html").read_text()
    assert "holds no checkpoint of a run" in str(earful(tmp_path).exception)
    results = tmp_path / "r.csv"
    results.write_text("filename,start,end,label,score,status,error\na.wav,0,1,low,0.9,ok,\n")
    assert "1 rows of 1 files" in earful(results).stderr
    assert isinstance(earful(results, "--dataset", tones.folder).exception, UsageError)
    assert isinstance(earful(run, "--audio-dir", tmp_path).exception, UsageError)


# --- charts and bins ---


def test_warnings_list_the_epochs_they_applied_to(run: Path) -> None:
    def record(epoch: int, dead: float) -> EpochRecord:
        layers = (LayerHealth("blocks.1", dead, 1e-3),)
        return EpochRecord(epoch, 1.0, 0.5, 1.0, 0.5, 1.0, 1e-3, layers)

    history = tuple(record(n, dead) for n, dead in enumerate([0.1, 0.6, 0.7, 0.2], 1))
    summary = layer_health_summary(TrainingRun(run, read_run(run).best, history, None))
    assert [(warning.first_epoch, warning.last_epoch) for warning in summary.warnings] == [(2, 3)]
    assert "70 %" in summary.warnings[0].text


def test_reliability_bins_sum_to_the_calibration_error() -> None:
    generator = np.random.default_rng(3)
    scores = generator.uniform(0, 1, 500)
    correct = generator.uniform(0, 1, 500) < scores**2
    bins = reliability(scores, correct)
    assert sum(bin_.clips for bin_ in bins) == 500
    gaps = sum(bin_.clips * abs(bin_.score - bin_.accuracy) for bin_ in bins) / 500
    assert gaps == pytest.approx(calibration_error(scores, correct))


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("width", [390, 1000])
def test_page_fits_the_window_and_plays(browser: "Browser", page: Path, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900})
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on(
        "request", lambda r: None if r.url.startswith(("file:", "data:")) else errors.append(r.url)
    )
    opened.goto(page.as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth") == width
    seconds = opened.evaluate(
        """async () => {
            const a = document.querySelector("audio");
            a.preload = "auto";
            a.load();
            await new Promise(done => a.addEventListener("loadedmetadata", done));
            return a.duration;
        }"""
    )
    assert seconds == pytest.approx(0.5, abs=0.01)
    context.close()
    assert errors == []
