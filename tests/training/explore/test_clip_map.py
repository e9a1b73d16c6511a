"""The map of a dataset of tones: label errors stand out, names are escaped, input is checked."""

import base64
import csv
import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from playwright.sync_api import Browser, Page, expect
from typer.testing import CliRunner, Result

from earful.data.dataset.dataset import Dataset, open_dataset
from earful.data.dataset.prepare import prepare
from earful.data.errors import EarfulError
from earful.data.features.config import FeatureConfig
from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.labels_csv import read_labels
from earful.models.registry.shipped import SHIPPED_MODEL
from earful.training.cli import build_app
from earful.training.config.train_config import TrainConfig, default_config
from earful.training.explore.clip_map import build_map, sample_clips
from earful.training.explore.embedding_sources import EmbeddingSources
from earful.training.explore.map_page import script_safe_json
from earful.training.explore.neighbours import Outliers
from earful.training.reports.clip_media import encode_spectrogram, file_link
from earful.training.runs.train_run import train_run
from earful.training.trainer.checkpoint import BEST_CHECKPOINT, load_checkpoint, save_checkpoint
from tests.fixtures.synthetic_audio import RATE_HZ, noise, one_torch_thread, overlay_at, tone

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(
    CHROMIUM is None, reason="needs chromium (Debian: apt install chromium)"
)
HOSTILE_LABEL, HOSTILE_SPEAKER = (
    "<img src=x onerror=hacked=1>",
    "</script><script>hacked=1</script>",
)
LABELS = {"low": "low", "mid": HOSTILE_LABEL, "high": "'\"&\\"}
# Clips 3 and 20 have the label of another pitch.
WRONG = {3: LABELS["high"], 20: LABELS["low"]}
NAMES = {0: "<b onclick=x>.wav", 1: "a\u2028b'\".wav", 2: "javascript:alert(1).wav", 5: "#?%.wav"}
CLIPS_PER_LABEL = 15
# The loudest quarter of a second of each clip, for the autoencoder of a map in all its epochs.
BRIEF_SECONDS = 0.25


def earful(*arguments: object) -> Result:
    """Run a command in this process; errors are raised."""
    with one_torch_thread():
        words = [str(argument) for argument in arguments]
        return CliRunner().invoke(build_app(), words, catch_exceptions=False)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dataset ``tones`` and its recordings."""
    home = tmp_path_factory.mktemp("map")
    (home / "wav").mkdir()
    generator = np.random.default_rng(5)
    with (home / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("filename", "label", "speaker", "split"))
        for n in range(3 * CLIPS_PER_LABEL):
            pitch = list(LABELS)[n // CLIPS_PER_LABEL]
            name = NAMES.get(n, f"{pitch}{n}.wav")
            sound = tone(pitch, float(generator.uniform(0.3, 0.5)), generator.uniform(0.1, 0.5))
            whole = overlay_at(sound, generator.uniform(0, 0.3), noise(0.9, 0.001, n))
            soundfile.write(home / "wav" / name, whole, RATE_HZ, format="WAV")
            split = ("train", "train", "val", "train", "test")[n % 5]
            writer.writerow((name, WRONG.get(n, LABELS[pitch]), f"{HOSTILE_SPEAKER}{n % 3}", split))
    labelled = read_labels(home / "labels.csv", CsvOptions(home / "wav"))
    prepare(labelled, home / "tones", features=FeatureConfig.for_rate(RATE_HZ), split="column")
    return home


@pytest.fixture(scope="module")
def tones(home: Path) -> Dataset:
    return open_dataset(home / "tones")


@pytest.fixture(scope="module")
def run(home: Path, tones: Dataset) -> Path:
    """A classification run, trained with the label errors."""
    config = TrainConfig(epochs=12, batch_size=8, learning_rate=3e-3)
    with one_torch_thread():
        train_run(tones, home / "cnn", config)
    return home / "cnn"


@pytest.fixture(scope="module")
def page_file(home: Path, run: Path) -> Path:
    """The map, and its points.csv in the same folder."""
    out = home / "drawn" / "map.html"
    outputs = ("--out", out, "--points", out.with_name("points.csv"))
    done = earful("map", home / "tones", *outputs, "--run", run, "--color-by", "error")
    assert done.stdout.startswith(f"{out}: 45 clips")
    return out


def test_wrong_labels_are_the_top_outliers_in_both_embeddings(page_file: Path) -> None:
    with page_file.with_name("points.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 45
    assert {rows[n]["filename"] for n in NAMES} == set(NAMES.values())
    for kind in ("encoder", "classifier"):
        scores = np.array([float(row[f"{kind}_disagreement"]) for row in rows])
        assert set(np.argsort(-scores)[:2]) == set(WRONG), kind
        assert rows[3][f"{kind}_suggested"] == LABELS["low"]
        coordinates = np.array([[float(row[f"{kind}_{axis}"]) for axis in "xy"] for row in rows])
        assert np.isfinite(coordinates).all()
        assert (coordinates.std(axis=0) > 0).all()
    assert {row["predicted"] for row in rows} <= set(LABELS.values())
    assert not page_file.with_name("map.autoencoder").exists()


def test_encoder_gives_way_where_the_sample_rate_is_too_low(home: Path, tmp_path: Path) -> None:
    clips = read_labels(home / "labels.csv", CsvOptions(home / "wav"))
    features = FeatureConfig.for_rate(4_000, clip_seconds=BRIEF_SECONDS)
    prepare(clips, tmp_path / "low", features=features, split="column")
    arguments = ("map", tmp_path / "low", "--out", tmp_path / "map.html", "--reduce", "pca")
    with pytest.raises(EarfulError, match=r"needs clips of 7600 Hz or more, found 4000"):
        earful(*arguments, "--embedding", "encoder")
    done = earful(*arguments, "--json")
    assert list(json.loads(done.stdout)["embeddings"]) == ["autoencoder"]
    assert "an autoencoder is shown instead of the speech encoder" in done.stderr
    assert done.stderr.count("7600 Hz") == 1


def test_encoder_embedding_is_standardised_and_a_given_autoencoder_goes_before_it(
    tones: Dataset, tmp_path: Path
) -> None:
    sources = EmbeddingSources(tmp_path / "map.autoencoder", only="encoder")
    clip_map = build_map(tones, sources, reduction="pca")
    (view,) = clip_map.views
    vectors = view.embedding.vectors
    assert vectors.shape == (45, 288)
    np.testing.assert_allclose(vectors.mean(axis=0), 0, atol=1e-4)
    np.testing.assert_allclose(vectors.std(axis=0), 1, atol=1e-3)
    np.testing.assert_allclose(np.linalg.norm(view.embedding.comparable, axis=1), 1, atol=1e-5)
    assert view.purity > 0.8
    train_run(tones, tmp_path / "run", replace(default_config("autoencoder"), epochs=1))
    given = replace(sources, only=None, run=tmp_path / "run")
    kinds = [view.embedding.kind for view in build_map(tones, given, reduction="pca").views]
    assert kinds == ["autoencoder"]
    assert not sources.autoencoder_folder.exists()


def test_autoencoder_is_reused_while_clips_and_seed_are_unchanged(
    home: Path, tmp_path: Path
) -> None:
    features = FeatureConfig.for_rate(RATE_HZ, clip_seconds=BRIEF_SECONDS)
    clips = read_labels(home / "labels.csv", CsvOptions(home / "wav"))
    prepare(clips, tmp_path / "brief", features=features, split="column")
    encoder_folder = tmp_path / "map.autoencoder"
    options = ("--embedding", "autoencoder", "--reduce", "pca")
    arguments = ("map", tmp_path / "brief", "--out", tmp_path / "map.html", *options)
    earful(*arguments)
    before = (encoder_folder / BEST_CHECKPOINT).stat().st_mtime_ns
    first = json.loads(earful(*arguments, "--json").stdout)
    assert (encoder_folder / BEST_CHECKPOINT).stat().st_mtime_ns == before
    assert list(first["embeddings"]) == ["autoencoder"]
    assert first["embeddings"]["autoencoder"]["purity"] > 0.7
    assert first["points"][3]["filename"] == "low3.wav"
    assert first == json.loads(earful(*arguments, "--json", "--run", encoder_folder).stdout) | {
        "embeddings": first["embeddings"]
    }
    (encoder_folder / BEST_CHECKPOINT).write_bytes(b"damaged")
    earful(*arguments)
    assert load_checkpoint(encoder_folder / BEST_CHECKPOINT).best.val_loss < 0.2


def test_sample_keeps_the_top_outliers_and_says_so(home: Path, run: Path) -> None:
    out = home / "sample.html"
    options = ("--embedding", "classifier", "--max-clips", "20", "--audio-mb", "0", "--json")
    done = earful("map", home / "tones", "--out", out, "--run", run, *options)
    found = json.loads(done.stdout)
    assert (found["clips"], found["shown"]) == (45, 20)
    assert [n for n in WRONG if found["points"][n]["classifier_x"] is None] == []
    assert sum(point["classifier_x"] is None for point in found["points"]) == 25
    assert "20 of 45 clips are shown" in done.stderr
    assert "20 have no audio" in done.stderr
    zeros = np.zeros(1000)
    far = Outliers(np.arange(1000) / 1000, zeros.astype(np.int64), zeros + 1)
    shown = sample_clips(1000, [far], 300, seed=1)
    assert len(shown) == 300
    assert set(range(850, 1000)) <= set(
        shown.tolist()
    )  # the top half of the outliers by disagreement


def test_links_to_files_are_escaped(home: Path, tones: Dataset) -> None:
    out = home / "pages" / "map.html"
    found = [file_link(tones, row, out, home / "wav") for row in range(45)]
    assert found[0] == "./../wav/%3Cb%20onclick%3Dx%3E.wav"
    assert found[2] == "./../wav/javascript%3Aalert%281%29.wav"
    assert found[5] == "./../wav/%23%3F%25.wav"
    assert found[7] == "./../wav/low7.wav"
    assert file_link(tones, 0, out, home) == ""
    segments = replace(tones, clips=tones.clips.assign(start=0.5, end=1.25))
    assert file_link(segments, 7, out, home / "wav") == "./../wav/low7.wav#t=0.5,1.25"


def test_image_has_its_stated_size_and_is_brightest_at_the_loudest_cell() -> None:
    sound = np.full((50, 200), -120.0, np.float32)
    sound[10:15, 100:110] = -20.0
    blob = base64.b64decode(encode_spectrogram(sound))
    rows, columns = blob[0], blob[1]
    assert (rows, columns) == (40, 64)
    cells = np.frombuffer(blob[2:], np.uint8)
    shades = np.stack([cells >> 4, cells & 15], axis=1).ravel().reshape(columns, rows)
    assert shades.max() == 15
    assert shades[33, 9] == 15
    assert shades[0].max() == 0


def test_json_in_a_page_cannot_close_the_script() -> None:
    text = script_safe_json([HOSTILE_SPEAKER, "\u2028", "&amp;", "<!--"])
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == [HOSTILE_SPEAKER, "\u2028", "&amp;", "<!--"]


def change_run(run: Path, to: Path, **changes: object) -> Path:
    to.mkdir()
    save_checkpoint(
        to / BEST_CHECKPOINT, replace(load_checkpoint(run / BEST_CHECKPOINT), **changes)
    )
    return to


def test_unmappable_input_is_reported_and_nothing_is_written(
    home: Path, tones: Dataset, run: Path, tmp_path: Path
) -> None:
    other = replace(tones.features, n_mels=32, n_mfcc=32)
    damaged = load_checkpoint(run / BEST_CHECKPOINT).weights | {
        "network.head.weight": torch.zeros(2, 2)
    }
    runs = {
        "features": change_run(run, tmp_path / "features", features=other),
        "labels": change_run(run, tmp_path / "labels", labels=("x", "y", "z")),
        "weights": change_run(run, tmp_path / "weights", weights=damaged),
    }
    existing = set(tmp_path.iterdir())
    dataset, out = home / "tones", ("--out", tmp_path / "map.html")
    refused = [
        ((tmp_path, *out), "is not a dataset"),
        ((dataset, *out, "--run", tmp_path), "holds no finished run"),
        ((dataset, *out, "--run", runs["features"]), "other features"),
        ((dataset, *out, "--run", runs["labels"]), "has none of the labels"),
        ((dataset, *out, "--run", runs["weights"]), "damaged"),
        (
            (dataset, *out, "--run", run, "--embedding", "autoencoder"),
            "give --embedding classifier",
        ),
        ((dataset, *out, "--run", run, "--embedding", "encoder"), "give --embedding classifier"),
        ((dataset, *out, "--model", SHIPPED_MODEL, "--embedding", "encoder"), "excludes --model"),
        (
            (dataset, *out, "--embedding", "encoder", "--color-by", "error"),
            "remove --embedding encoder",
        ),
        ((dataset, *out, "--model", SHIPPED_MODEL), r"has none of the labels.*it has 0, 1"),
        (
            (dataset, *out, "--model", SHIPPED_MODEL, "--embedding", "autoencoder"),
            "excludes --model",
        ),
        ((dataset, *out, "--model", home / "labels.csv"), "not a usable ONNX model"),
        ((dataset, *out, "--model", home / "none.onnx"), "no model file"),
        ((dataset, *out, "--embedding", "classifier"), r"train one with `earful train"),
        ((dataset, *out, "--color-by", "error"), "needs the predictions of a classifier"),
        ((dataset, "--out", tmp_path), "is a folder"),
        ((dataset, *out, "--audio-dir", home / "none"), "is not a folder"),
        ((dataset, *out, "--points", tmp_path / "map.html"), "another --points"),
    ]
    for arguments, message in refused:
        with pytest.raises(EarfulError, match=message):
            earful("map", *arguments)
        assert set(tmp_path.iterdir()) == existing, arguments
    few = replace(tones, clips=tones.clips.head(2), label_matrix=tones.label_matrix[:2])
    with pytest.raises(EarfulError, match="has 2 clips; a map needs 3"):
        build_map(few, EmbeddingSources(tmp_path / "autoencoder"))
    numbers = replace(tones, clips=tones.clips.assign(seconds="long"))
    with pytest.raises(EarfulError, match="damaged"):
        build_map(numbers, EmbeddingSources(tmp_path / "autoencoder"))


def test_model_with_other_features_names_the_prepare_options(home: Path, tmp_path: Path) -> None:
    labelled = read_labels(home / "labels.csv", CsvOptions(home / "wav"))
    prepare(labelled, tmp_path / "d", features=FeatureConfig.for_rate(16_000), split="column")
    with pytest.raises(EarfulError, match=r"takes clips of 1 s at 8000 Hz.* --sample-rate 8000"):
        earful("map", tmp_path / "d", "--out", tmp_path / "m.html", "--model", SHIPPED_MODEL)


# --- in a browser ---


@pytest.fixture
def page(browser: Browser, page_file: Path) -> Iterator[Page]:
    """The open page; script errors and network requests fail the test."""
    context = browser.new_context(viewport={"width": 1000, "height": 800})
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda m: errors.append(m.text) if m.type == "error" else None)
    opened.on(
        "request", lambda r: None if r.url.startswith(("file:", "data:")) else errors.append(r.url)
    )
    opened.goto(page_file.as_uri())
    yield opened
    assert opened.evaluate("window.hacked") is None
    context.close()
    assert errors == []


def count_colours(page: Page) -> int:
    """Number of solid colours on the map that cover more pixels than where two points overlap."""
    count: int = page.locator("#plot").evaluate(
        """canvas => {
            const g = canvas.getContext("2d"), counts = new Map();
            const { buffer } = g.getImageData(0, 0, canvas.width, canvas.height).data;
            for (const pixel of new Uint32Array(buffer))
                if (pixel >>> 24 > 180) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
            return [...counts.values()].filter(count => count > 130).length;
        }"""
    )
    return count


def point(page: Page, n: int) -> tuple[float, float]:
    """Screen position of a clip."""
    x, y = page.evaluate(f"plot.toScreen(points.x[{n}], points.y[{n}])")
    box = page.locator("#plot").bounding_box()
    assert box is not None
    return box["x"] + x, box["y"] + y


@pytest.mark.browser
@needs_chromium
def test_page_filters_colours_and_plays(page: Page) -> None:
    expect(page.locator("#legend button")).to_have_count(3)  # all, correct, incorrect
    expect(page.locator("#gesture")).to_be_visible()
    assert count_colours(page) in {1, 2}  # whether points of a mistake are many is the network's
    page.select_option("#colour", "label")
    expect(page.locator("#legend button span")).to_have_text(sorted(LABELS.values(), key=str))
    assert count_colours(page) == 3

    page.mouse.move(*point(page, 0))  # a filename with markup
    expect(page.locator("#tip")).to_contain_text(f"low · {HOSTILE_SPEAKER}0 · <b onclick=x>.wav")
    expect(page.locator("#c-label")).to_have_text("low")
    expect(page.locator("#facts")).to_contain_text("<b onclick=x>.wav")
    source = page.locator("#player").get_attribute("src")
    assert source is not None
    assert source.startswith("data:audio/flac;base64,")
    page.wait_for_function("document.getElementById('player').duration > 0.8")
    shades = page.locator("#spectrogram").evaluate(
        "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
    )
    assert shades > 10

    page.locator("#legend button", has_text="onerror").click()
    expect(page.locator("#about")).to_contain_text("14 of 45 match")
    page.get_by_role("button", name="all").click()
    page.fill("#search", "JAVASCRIPT:")
    expect(page.locator("#about")).to_contain_text("1 of 45 match")
    page.press("#search", "Enter")
    expect(page.locator("#facts")).to_contain_text("javascript:alert(1).wav")
    page.fill("#search", "")


@pytest.mark.browser
@needs_chromium
def test_page_lists_outliers_switches_views_and_is_usable_by_keyboard(page: Page) -> None:
    first = page.locator("#outliers button").first
    expect(first).to_contain_text("→")
    first.click()
    expect(page.locator("#gesture")).to_be_hidden()
    page.wait_for_function("!document.getElementById('player').paused")
    chosen = page.locator("#facts dd").first.inner_text()
    assert chosen in {"low3.wav", "mid20.wav"}
    encoder = page.evaluate("points.x.slice()")
    page.get_by_role("button", name="classifier").click()
    assert page.evaluate("points.x.slice()") != encoder
    page.select_option("#order", "distance")
    expect(page.locator("#order-note")).to_contain_text("far from their neighbours")

    page.locator("#plot").focus()
    seen = {chosen}
    for key in ("ArrowRight", "ArrowUp", "ArrowLeft", "ArrowDown"):
        page.keyboard.press(key)
        seen.add(page.locator("#facts dd").first.inner_text())
    assert len(seen) > 2
    scale = page.evaluate("plot.toScreen(1, 0)[0] - plot.toScreen(0, 0)[0]")
    page.keyboard.press("+")
    assert page.evaluate("plot.toScreen(1, 0)[0] - plot.toScreen(0, 0)[0]") > scale
    page.keyboard.press("0")
    page.keyboard.press("Escape")
    expect(page.locator("#none")).to_be_visible()

    page.mouse.move(*point(page, 30))
    before = page.evaluate("plot.toScreen(points.x[30], points.y[30])")
    page.mouse.wheel(0, -400)
    page.wait_for_function("plot.toScreen(1, 0)[0] - plot.toScreen(0, 0)[0] > 900")
    after = page.evaluate("plot.toScreen(points.x[30], points.y[30])")
    np.testing.assert_allclose(after, before, atol=1.5)  # the point under the pointer stays
    for width in (390, 1000):
        page.set_viewport_size({"width": width, "height": 740})
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_page_is_self_contained(page_file: Path) -> None:
    text = page_file.read_text("utf-8")
    assert text.count("<script") == text.count("</script>") == 3
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text.split('id="data"')[0])
    assert "https://" not in text
    assert "default-src &#39;none&#39;" in text
