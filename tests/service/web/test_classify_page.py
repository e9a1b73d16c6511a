"""The main page in a real browser, with a real server and a fake microphone that plays a file."""

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import soundfile
import soxr
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.fixtures.media_files import MEDIA_KINDS, encode_media
from tests.fixtures.server import RunningServer, running_server
from tests.fixtures.synthetic_audio import RATE_HZ, noise, overlay_at, tone, wav
from tests.fixtures.tab import Tab

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt install chromium)"),
]
LONG_NAMES = {
    "low": "Domestic animals, pets (barking, near the microphone), recorded at night in the rain",
    "mid": "Electric_guitar_" + "distorted_" * 10,
    "high": "Siren of an ambulance that passes slowly",
}
# (label, start in seconds) of the tones in the microphone's audio.
SPOKEN = [("low", 1.0), ("high", 2.4), ("mid", 3.6)]


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("page"), model) as started:
        yield started


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    microphone_audio = noise(5.5, 1e-4)
    for label, start in SPOKEN:
        microphone_audio = overlay_at(tone(label), start, microphone_audio)
    microphone = tmp_path_factory.mktemp("microphone") / "microphone.wav"
    soundfile.write(microphone, microphone_audio, RATE_HZ)
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=[
                "--no-sandbox",
                "--use-fake-ui-for-media-stream",
                "--use-fake-device-for-media-stream",
                f"--use-file-for-fake-audio-capture={microphone}%noloop",
            ],
        )
        yield opened
        opened.close()


@pytest.fixture
def page(tab: Tab, server: RunningServer) -> Iterator[Page]:
    with tab.visit(f"{server.url}/") as page:
        expect(page.locator("#model")).to_contain_text("tones · cnn · version")
        yield page


def file(name: str, label: str = "mid") -> dict[str, object]:
    return {"name": name, "mimeType": "audio/wav", "buffer": wav(tone(label))}


def choose(page: Page, *files: dict[str, object]) -> None:
    page.set_input_files("#files", list(files))  # type: ignore[arg-type]


def test_one_file_shows_its_label_scores_and_plots(page: Page) -> None:
    choose(page, file("a.wav", "high"))
    expect(page.locator("tr.row td.label")).to_have_text("high")
    expect(page.locator(".scores li")).to_have_count(3)
    expect(page.locator(".scores li").first).to_contain_text("high")
    for plot in (".wave", ".mel"):
        n_values = page.locator(plot).evaluate(
            "c => new Set(c.getContext('2d').getImageData(0, 0, c.width, c.height).data).size"
        )
        assert n_values > 3
    expect(page.locator("#status")).to_have_text("1 file classified.")


def drop(page: Page, files: dict[str, bytes]) -> None:
    """Drop files (content by name) on the page; a phone says no type of its own."""
    page.evaluate(
        """files => {
            const dropped = new DataTransfer();
            for (const [name, bytes] of Object.entries(files))
                dropped.items.add(new File([new Uint8Array(bytes)], name));
            document.getElementById('drop').dispatchEvent(
                new DragEvent('drop', {dataTransfer: dropped, bubbles: true, cancelable: true}));
        }""",
        {name: list(content) for name, content in files.items()},
    )


def test_dropped_files_are_classified(page: Page) -> None:
    drop(page, {"x.wav": wav(tone("low")), "y.wav": wav(tone("low"))})
    expect(page.locator("tr.row td.label")).to_have_text(["low", "low"])


@pytest.mark.parametrize("name", ["a.m4a", "a.webm", "a.amr"])
def test_dropped_recording_of_a_phone_is_classified(page: Page, name: str) -> None:
    samples = soxr.resample(tone("high"), RATE_HZ, MEDIA_KINDS[name].rate_hz)
    drop(page, {name: encode_media(name, samples)})
    expect(page.locator("tr.row td.label")).to_have_text("high")
    expect(page.locator("#status")).to_have_text("1 file classified.")
    suffixes = page.locator("#files").get_attribute("accept")
    assert suffixes is not None
    assert Path(name).suffix in suffixes.split(",")


def test_many_files_with_a_bad_one_are_listed_and_exported_as_csv(
    page: Page, tmp_path: Path
) -> None:
    labels = ["low", "mid", "high"] * 7
    bad = {"name": "=bad,name.wav", "mimeType": "audio/wav", "buffer": b"nonsense"}
    choose(page, *(file(f"{n}.wav", label) for n, label in enumerate(labels)), bad)
    rows = page.locator("tr.row")
    expect(rows).to_have_count(22)
    expect(rows.locator("td.label").nth(21)).to_contain_text("not audio")
    expect(page.locator("#status")).to_contain_text("Errors in 1 of 22 files")
    with page.expect_download() as download:
        page.click("#csv")
    path = tmp_path / "table.csv"
    download.value.save_as(path)
    table = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["label"] for row in table[:21]] == labels
    assert table[21]["filename"] == "'=bad,name.wav"
    assert "not audio" in table[21]["error"]


def test_a_correction_is_stored_and_can_be_downloaded(page: Page, tmp_path: Path) -> None:
    choose(page, file("a.wav"), file("b.wav"))
    page.get_by_label("Correct label of b.wav").select_option("low")
    page.reload()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download 1 correction").click()
    path = tmp_path / "corrections.csv"
    download.value.save_as(path)
    assert path.read_text() == "filename,label\nb.wav,low\n"


def test_every_control_can_be_reached_by_keyboard(page: Page) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "files"
    choose(page, file("a.wav"), file("b.wav"))
    expect(page.locator("tr.row")).to_have_count(2)
    focused = set()
    for _ in range(14):
        page.keyboard.press("Tab")
        focused.add(page.evaluate("document.activeElement.id || document.activeElement.className"))
    assert {"record", "live", "csv", "clear", "open", "correct-label"} <= focused
    page.locator(".open").first.focus()
    page.keyboard.press("Enter")
    expect(page.locator(".scores li")).to_have_count(3)


def test_words_at_the_microphone_become_events(page: Page) -> None:
    page.click("#live")
    expect(page.locator("#events b")).to_have_text([label for label, _ in SPOKEN], timeout=15_000)
    page.click("#live")
    expect(page.locator("#status")).to_have_text("Stopped listening.")
    expect(page.locator("#live")).to_have_text("Listen live")


def test_a_recording_is_classified(page: Page) -> None:
    page.click("#record")
    expect(page.locator("#status")).to_contain_text("Recording: 2", timeout=10_000)
    page.click("#record")
    expect(page.locator("tr.row td.label")).to_have_text("low")


@pytest.mark.parametrize("width", [360, 1000])
def test_layout_fits_at_any_width(page: Page, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    choose(page, file("a-rather-long-file-name-of-a-recording-made-somewhere.wav"))
    expect(page.locator(".scores li")).to_have_count(3)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.fixture(scope="module")
def long_names(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The same model with label names of 40 to 120 characters."""
    graph = onnx.load(model)
    for prop in graph.metadata_props:
        if prop.key == "earful.labels":
            prop.value = json.dumps([LONG_NAMES[label] for label in json.loads(prop.value)])
    folder = tmp_path_factory.mktemp("long")
    onnx.save(graph, folder / "tones.onnx")
    with running_server(folder, folder / "tones.onnx") as started:
        yield started


@pytest.mark.parametrize("width", [360, 1000])
def test_long_label_names_are_shortened_and_whole_in_a_tooltip(
    tab: Tab, long_names: RunningServer, width: int
) -> None:
    tab.open(f"{long_names.url}/")
    page = tab.page
    page.set_viewport_size({"width": width, "height": 740})
    long = overlay_at(tone("low"), 1.0, overlay_at(tone("mid"), 3.0, noise(6.0, 1e-4)))
    choose(page, file("a.wav", "high"))
    expect(page.locator("td.label")).to_have_text(LONG_NAMES["high"])
    choose(page, {"name": "b.wav", "mimeType": "audio/wav", "buffer": wav(long)})
    expect(page.locator(".lane [role=option]")).to_have_count(2)
    page.locator(".lane").focus()
    page.keyboard.press("ArrowRight")
    shown = page.locator("td.label .name, .scores .name, .legend .name, .event-label, .event")
    expect(shown).to_have_count(1 + 3 + 2 + 1 + 2)
    for name in shown.all():
        assert name.get_attribute("title") in LONG_NAMES.values()
    # Nothing is wider than the page or its part of it, and no name takes more than four lines.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in page.locator(".name, .event-choice, select").all():
        box = name.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= width
        assert box["height"] <= 120


def test_content_security_policy_forbids_foreign_resources(server: RunningServer) -> None:
    with server.client() as client:
        policy = client.get("/").headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert client.get("/web/%2e%2e%2fapp.py").status_code == 404
        assert np.all([client.get(f"/web/{n}").status_code == 200 for n in ("app.js", "style.css")])


def test_the_page_shows_where_the_model_listened_and_hides_it_again(page: Page) -> None:
    """A tone in the second half of a second: there the spectrogram stays bright, by the map."""
    sound = overlay_at(tone("high", 0.3), 0.65, noise(1.0, 0.002))
    choose(page, {"name": "late.wav", "mimeType": "audio/wav", "buffer": wav(sound)})
    brightness = """([from, to]) => {
        const c = document.querySelector('.mel'), w = c.width * (to - from);
        const data = c.getContext('2d').getImageData(c.width * from, 0, w, c.height).data;
        let sum = 0;
        for (let i = 0; i < data.length; i += 4) sum += data[i] + data[i + 1] + data[i + 2];
        return sum / data.length;
    }"""
    button = page.get_by_role("button", name="Where the model listened")
    expect(button).to_be_visible()
    plain = [page.evaluate(brightness, half) for half in ([0, 0.5], [0.5, 1])]
    button.click()
    expect(page.locator("figure .note")).to_contain_text("“high”")
    mapped = [page.evaluate(brightness, half) for half in ([0, 0.5], [0.5, 1])]
    assert mapped[0] / plain[0] < mapped[1] / plain[1]
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    expect(page.locator("figure .note")).to_have_text("")
    assert [page.evaluate(brightness, half) for half in ([0, 0.5], [0.5, 1])] == plain
