"""The page of a run says what metrics.json says, needs nothing else, and names what is missing."""

import json
import math
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
from earful.training.cli import build_app
from earful.training.config.train_config import TrainConfig
from earful.training.metrics.calibration import calibration_error, reliability
from earful.training.metrics.multilabel import multi_label_confusion
from earful.training.reports.html_clips import Shown
from earful.training.reports.run_report import predictions as answers_module
from earful.training.reports.run_report.chart import Axes, Line, chart, ticks
from earful.training.reports.run_report.drawings import health
from earful.training.reports.run_report.page import Wanted, write_run_report
from earful.training.reports.run_report.predictions import answers, in_noise, sureness, worst
from earful.training.reports.run_report.read_run import Run, RunReportError, find_dataset, read_run
from earful.training.runs.train_run import train_run
from earful.training.trainer.checkpoint import EpochRecord
from earful.training.trainer.layer_health import LayerHealth
from earful.training.trainer.trainer import fit
from tests.fixtures.chords import Chords

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# So little that some clips are answered wrongly.
CONFIG = TrainConfig(epochs=4, batch_size=16, learning_rate=2e-3, label_smoothing=0.05)
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
    """The whole page, as the command writes it."""
    out = tmp_path_factory.mktemp("page") / "report.html"
    assert write_run_report(run, out, Wanted(tones.folder, clips=3)) == []
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
    assert '<b>0.05</b> <span class="soft">not 0</span>' in text  # label_smoothing
    assert "<b>adam</b>" not in text
    confusion = re.findall(r"--share: [\d.]+\">(\d*)</td>", text)
    assert [int(n or 0) for n in confusion] == [n for row in test["confusion"] for n in row]


def test_page_is_self_contained_and_escapes_names(page: Path) -> None:
    text = page.read_text("utf-8")
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text)
    assert "<b>run" not in text
    assert "&lt;b&gt;run" in text
    assert 3 <= text.count("data:audio/wav") <= 6
    assert "In noise" in text
    assert text.count("<svg") >= 7


def test_predictions_match_the_metrics_of_the_run(
    run: Path, tones: Dataset, metrics: dict[str, Any]
) -> None:
    found = answers(read_run(run), tones, "test")
    assert found.accuracy == metrics["test"]["accuracy"]
    confusion = np.zeros((3, 3), int)
    np.add.at(confusion, (tones.targets[found.rows], found.said.argmax(axis=1)), 1)
    assert confusion.tolist() == metrics["test"]["confusion"]


def test_worst_clips_are_confident_mistakes_then_uncertain_correct_ones(
    run: Path, tones: Dataset
) -> None:
    found = answers(read_run(run), tones, "test")
    wrong = np.arange(len(found.rows)) % 3 == 0
    found = replace(found, held=found.said ^ wrong[:, None])
    mistakes, unsure = worst(found, tones, clips=2, most_bytes=10**9)
    assert [clip.score for clip in mistakes] == sorted(found.sure[wrong], reverse=True)[:2]
    names = {clip.filename for clip in mistakes}
    rest = [s for s, r in zip(found.sure, found.rows, strict=True)
            if tones.clips["filename"][r] not in names]  # fmt: skip
    assert [clip.score for clip in unsure] == sorted(rest)[:2]


def test_audio_stops_at_the_size_limit_of_the_page(run: Path, tones: Dataset) -> None:
    found = answers(read_run(run), tones, "test")
    found = replace(found, held=found.said)

    def shown(most_bytes: int) -> list[Shown]:
        return [clip.shown for clip in worst(found, tones, 4, most_bytes)[1]]

    def size(one: Shown) -> int:
        return len(one.audio) + len(one.picture)

    every = shown(10**9)
    enough = size(every[0]) + size(every[1]) + len(every[2].picture)
    clips = shown(enough)
    assert [bool(clip.audio) for clip in clips] == [True, True, False, False]
    assert [bool(clip.picture) for clip in clips] == [True, True, True, False]
    assert sum(map(size, clips)) == enough
    assert all("--audio-mb" in clip.missing for clip in clips[2:])
    assert [size(clip) for clip in shown(0)] == [0] * 4


def test_a_clip_without_sound_has_no_player(run: Path, tones: Dataset, tmp_path: Path) -> None:
    picture = len(worst(answers(read_run(run), tones, "test"), tones, 1, 10**9)[1][0].shown.picture)
    wanted = Wanted(tones.folder, clips=2, most_bytes=2 * picture, noise=False)
    write_run_report(run, tmp_path / "r.html", wanted)
    text = (tmp_path / "r.html").read_text()
    assert text.count("<audio") == text.count("data:audio/wav")
    assert "no sound" in text


def test_noise_test_uses_a_sample_of_large_sets(
    run: Path, tones: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers_module, "NOISE_CLIPS", 5)
    found = in_noise(read_run(run), tones, "test", lambda done, total: None)
    assert (found.clips, found.of) == (5, len(tones.rows("test")))
    assert {point.clips for point in found.points} == {5}
    assert [kind for kind, _ in found.rows][:3] == ["white", "pink", "brown"]
    assert sum(len(points) for _, points in found.rows) == len(found.points) == 30


# --- several labels at once ---


@pytest.fixture(scope="module")
def bce_run(chords: Chords, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bce") / "run"
    train_run(open_dataset(chords.dataset), folder, replace(CONFIG, loss="bce", epochs=8))
    return folder


def test_multi_label_run_has_every_section(
    bce_run: Path, chords: Chords, tmp_path: Path
) -> None:
    assert write_run_report(bce_run, tmp_path / "r.html", Wanted(chords.dataset, clips=3)) == []
    text = (tmp_path / "r.html").read_text()
    for title in ("Calibration", "In noise", "Surest mistakes", "Least sure", "Confusion"):
        assert f"<h2>{title}</h2>" in text
    assert "labels that are there by score" in text
    assert "Right are clips whose labels were all said, and no other" in text
    assert "that of the column said in vain" in text
    assert "the true label down" not in text
    assert text.count("data:audio/wav") == 6
    shares = [float(share) for share in re.findall(r"--share: ([\d.]+)", text)]
    assert max(shares) <= 1


def test_multi_label_predictions_match_the_metrics_of_the_run(bce_run: Path, chords: Chords) -> None:
    dataset, read = open_dataset(chords.dataset), read_run(bce_run)
    found = answers(read, dataset, "test")
    assert read.metrics is not None
    assert found.accuracy == read.metrics["test"]["accuracy"] < 1
    assert multi_label_confusion(found.held, found.said).tolist() == read.metrics["test"]["confusion"]
    mistakes, unsure = worst(found, dataset, clips=2, most_bytes=10**9)
    assert all(clip.said != clip.label for clip in mistakes)
    assert any("|" in clip.said for clip in (*mistakes, *unsure))
    listed = found.rows[dataset.clips["filename"].iloc[found.rows] == mistakes[0].filename]
    nth = found.rows.tolist().index(int(listed[0]))
    said = [found.scores[nth, dataset.labels.index(name)] for name in mistakes[0].said.split("|")]
    assert mistakes[0].score == min(said)
    noise = in_noise(read, dataset, "test", lambda done, total: None)
    assert noise.clean == found.accuracy
    assert read.best.calibration is not None
    weighed = sureness(found, read.best.calibration.threshold)
    assert sum(each.clips for each in weighed.bins) == found.scores.size
    assert weighed.curve[0].accuracy == found.accuracy


def test_single_label_bce_run_has_every_section_and_no_wrong_note(
    tones: Dataset, tmp_path: Path
) -> None:
    train_run(tones, tmp_path / "run", replace(CONFIG, loss="bce"))
    assert write_run_report(tmp_path / "run", tmp_path / "r.html", Wanted(tones.folder)) == []
    text = (tmp_path / "r.html").read_text()
    for title in ("Calibration", "In noise", "Least sure"):
        assert f"<h2>{title}</h2>" in text
    assert "Each label is asked for by itself" in text
    assert "several labels" not in text


# --- runs that are not whole, datasets that are others ---


def test_an_unfinished_run_shows_what_there_is_and_does_not_look_at_the_test_part(
    tones: Dataset, tmp_path: Path
) -> None:
    result = fit(tones, tmp_path, replace(CONFIG, epochs=2))
    notes = write_run_report(tmp_path, tmp_path / "r.html", Wanted(tones.folder, noise=False))
    text = (tmp_path / "r.html").read_text()
    assert len(notes) == 1
    assert "not finished: 2 of at most 2 epochs" in notes[0]
    accuracy = result.checkpoint.best.val_accuracy
    assert accuracy is not None
    assert f"<b>{100 * accuracy:.2f} %</b>validation accuracy of" in text
    assert "test accuracy" not in text
    assert "Least sure" in text


def test_run_continued_after_its_metrics_is_not_finished(
    tones: Dataset, tmp_path: Path
) -> None:
    train_run(tones, tmp_path, replace(CONFIG, epochs=1))
    assert read_run(tmp_path).metrics is not None
    fit(tones, tmp_path, replace(CONFIG, epochs=2), resume=True)
    assert read_run(tmp_path).metrics is None


def test_without_the_dataset_the_rest_is_shown(run: Path, tmp_path: Path) -> None:
    """Only where metrics.json does not say where it was."""
    bare = shutil.copytree(run, tmp_path / "bare")
    found = json.loads((bare / "metrics.json").read_text())
    found.pop("dataset", None)
    (bare / "metrics.json").write_text(json.dumps(found))
    notes = write_run_report(bare, tmp_path / "r.html", Wanted())
    assert "--dataset" in notes[0]
    text = (tmp_path / "r.html").read_text()
    assert "test accuracy" in text
    assert "Confusion" in text
    assert "<audio" not in text


def test_where_metrics_json_names_the_dataset_it_is_found(
    run: Path, tones: Dataset, other_tones: Dataset, tmp_path: Path
) -> None:
    read = read_run(run)
    assert read.metrics is not None
    known = replace(read, metrics={**read.metrics, "dataset": str(tones.folder)})
    found, why = find_dataset(known, None)
    assert (found and found.content_hash, why) == (tones.content_hash, "")
    for folder, words in ((other_tones.folder, "content hash"), (tmp_path, "is no dataset")):
        known = replace(read, metrics={**read.metrics, "dataset": str(folder)})
        found, why = find_dataset(known, None)
        assert found is None
        assert words in why


def test_another_dataset_is_refused(run: Path, other_tones: Dataset, tones: Dataset) -> None:
    with pytest.raises(RunReportError, match=r"is not what .* was trained on: content hash"):
        find_dataset(read_run(run), other_tones.folder)
    read = read_run(run)
    elsewhere = replace(read.best, dataset_hash=f"{tones.content_hash}/fold1:abc")
    with pytest.raises(RunReportError, match="split in another way"):
        find_dataset(replace(read, best=elsewhere), tones.folder)
    with_extra = replace(read.best, dataset_hash=f"{tones.content_hash}+extra")
    assert find_dataset(replace(read, best=with_extra), tones.folder)[0] is not None


def test_an_autoencoder_has_a_page_without_labels(tones: Dataset, tmp_path: Path) -> None:
    config = TrainConfig(model="autoencoder", features="log_mel", epochs=1)
    metrics = train_run(tones, tmp_path / "run", config)
    assert write_run_report(tmp_path / "run", tmp_path / "r.html", Wanted(tones.folder)) == []
    text = (tmp_path / "r.html").read_text()
    assert f"<b>{metrics['test']['reconstruction_error']:.4f}</b>" in text
    assert "Confusion" not in text


# --- the command ---


def test_command_distinguishes_runs_results_and_other_files(
    run: Path, tones: Dataset, tmp_path: Path
) -> None:
    done = earful(run, "--dataset", tones.folder, "--no-noise", "--out", tmp_path / "r.html")
    assert done.exit_code == 0
    assert "r.html: " in done.stderr
    assert "In noise" not in (tmp_path / "r.html").read_text()
    assert "no run of `earful train`" in str(earful(tmp_path).exception)
    results = tmp_path / "r.csv"
    results.write_text("filename,start,end,label,score,status,error\na.wav,0,1,low,0.9,ok,\n")
    assert "1 rows of 1 files" in earful(results).stderr
    assert earful(results, "--dataset", tones.folder).exit_code == 2
    assert earful(run, "--audio-dir", tmp_path).exit_code == 2


# --- charts and bins ---


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0, 150), (1, 12), (-3.5, 2.2), (1e-6, 3e-6), (95.2, 100)]
)
def test_ticks_are_round_evenly_apart_and_within(low: float, high: float) -> None:
    found = ticks(low, high)
    assert 3 <= len(found) <= 8
    assert low - 1e-9 <= found[0]
    assert found[-1] <= high + 1e-9
    step = found[1] - found[0]
    assert np.allclose(np.diff(found), step)
    assert round(step / 10 ** math.floor(math.log10(step) + 1e-9), 6) in (1, 2, 5)


def test_a_chart_holds_its_points_and_escapes_its_names() -> None:
    svg = chart(Axes("a<b", "epoch"), [Line("<x>", [(1, 0.5), (2, math.nan), (3, 1.5)])])
    assert "<x>" not in svg
    assert "a<b" not in svg
    path = re.search(r'class="line c0" d="M([\d. L]+)"', svg)
    assert path is not None
    (x1, y1), (x2, y2) = (map(float, p.split()) for p in path.group(1).split("L"))
    assert x1 < x2
    assert y1 > y2  # down the page is less
    assert chart(Axes("t", "epoch", log=True), [Line("", [(1, 0.0)])]) == ""


def test_warnings_list_the_epochs_they_applied_to(run: Path) -> None:
    def record(epoch: int, dead: float) -> EpochRecord:
        layers = (LayerHealth("blocks.1", dead, 1e-3),)
        return EpochRecord(epoch, 1.0, 0.5, 1.0, 0.5, 1.0, 1e-3, layers)

    history = tuple(record(n, dead) for n, dead in enumerate([0.1, 0.6, 0.7, 0.2], 1))
    found = health(Run(run, read_run(run).best, history, None))
    assert [(each.first, each.last) for each in found.warned] == [(2, 3)]
    assert "70 %" in found.warned[0].text


def test_the_bins_are_those_of_the_calibration_error() -> None:
    generator = np.random.default_rng(3)
    scores = generator.uniform(0, 1, 500)
    right = generator.uniform(0, 1, 500) < scores**2
    bins = reliability(scores, right)
    assert sum(each.clips for each in bins) == 500
    gaps = sum(each.clips * abs(each.score - each.accuracy) for each in bins) / 500
    assert gaps == pytest.approx(calibration_error(scores, right))


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
@pytest.mark.parametrize("width", [390, 1000])
def test_page_fits_the_window_and_plays(browser: "Browser", page: Path, width: int) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900})
    opened = context.new_page()
    faults: list[str] = []
    opened.on("pageerror", lambda error: faults.append(str(error)))
    opened.on(
        "request", lambda r: None if r.url.startswith(("file:", "data:")) else faults.append(r.url)
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
    assert faults == []
