"""An exported site in a real browser, from a plain static server: as the command line answers."""

import base64
import csv
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from playwright.sync_api import (
    Browser,
    BrowserContext,
    Page,
    Playwright,
    Route,
    ViewportSize,
    expect,
    sync_playwright,
)
from typer.testing import CliRunner

from earful.data.audio.decode import decode
from earful.models.registry.shipped import SHIPPED_MODEL
from earful.training.cli import build_app
from earful.training.export.web_runtime import read_web_runtime
from earful.training.export.web_site import write_site
from tests.fixtures.static_files import serve_folder
from tests.fixtures.synthetic_audio import noise, tone, wav
from tests.fixtures.tab import Tab
from tests.fixtures.web_runtime import web_runtime_package

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt install chromium)"),
]
SAMPLES = Path(__file__).parents[3] / "service" / "web" / "samples"
N_RECORDINGS = 20
TOLERANCE = 1e-3
FAKE_DEVICE, FAKE_UI = "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"
PHONE = ViewportSize(width=390, height=800)
# A folder below the server's own, with a name that an address must quote.
SUBFOLDER = "of a user/digits"
HIDE = """() => {
  Object.defineProperty(document, "visibilityState", {configurable: true, get: () => "hidden"});
  document.dispatchEvent(new Event("visibilitychange"));
}"""

DROP = """([name, text]) => {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0)), data = new DataTransfer();
  data.items.add(new File([bytes], name, { type: "audio/wav" }));
  window.dispatchEvent(new DragEvent("drop", { dataTransfer: data }));
}"""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A server's folder with the site of the shipped digit model in it."""
    folder = tmp_path_factory.mktemp("host")
    runtime = read_web_runtime(web_runtime_package())
    write_site(SHIPPED_MODEL, "digits", folder / SUBFOLDER, runtime)
    return folder


@pytest.fixture(scope="module")
def host(root: Path) -> Iterator[str]:
    with serve_folder(root) as url:
        yield url


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as started:
        yield started


Launch = Callable[..., Any]


@pytest.fixture(scope="module")
def launch(playwright: Playwright) -> Launch:
    """``launch(*flags)`` is a chromium with more flags, which ends with the block."""

    @contextmanager
    def start(*flags: str) -> Iterator[Browser]:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *flags])
        yield opened
        opened.close()

    return start


@pytest.fixture(scope="module")
def browser(launch: Launch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A chromium whose microphone plays the page's own sample, sixteen digits."""
    microphone = tmp_path_factory.mktemp("microphone") / "digits.wav"
    soundfile.write(microphone, long_recording(), 8_000)
    with launch(
        FAKE_DEVICE, FAKE_UI, f"--use-file-for-fake-audio-capture={microphone}%noloop"
    ) as b:
        yield b


def long_recording() -> Any:
    return decode((SAMPLES / "digits.ogg").read_bytes(), 8_000).waveform


def address(host: str) -> str:
    return f"{host}{SUBFOLDER.replace(' ', '%20')}/"


def visit(context: BrowserContext, host: str) -> Page:
    """The site in a context without anything of it."""
    page = context.new_page()
    page.goto(address(host))
    return page


def ready(page: Page) -> Page:
    expect(page.locator("#knows")).to_contain_text("Knows 10 labels", timeout=60_000)
    return page


@pytest.fixture
def page(tab: Tab, host: str) -> Iterator[Page]:
    """The site, opened and ready; an error fails the test."""
    with tab.visit(address(host)) as page:
        yield ready(page)
    assert tab.error_messages == []
    assert len(tab.requests) > 20


# --- the same as the command ---


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Recordings of all encodings that WAV has, from clicks to a clip and a half, and FLAC."""
    folder = tmp_path_factory.mktemp("synthetic")
    kinds = ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"]
    paths, words = [], np.array_split(long_recording(), N_RECORDINGS)
    for n, word in enumerate(words):
        path = folder / f"{n}.{'flac' if n % 7 == 6 else 'wav'}"
        sound = np.stack([word, 0.5 * word], axis=1) if n % 3 == 2 else word
        subtype = None if path.suffix == ".flac" else kinds[n % 6]
        soundfile.write(path, sound[: int(12_000 - 500 * n)], 8_000, subtype=subtype)
        paths.append(path)
    return paths


@pytest.fixture(scope="module")
def real(fsdd: Path) -> list[Path]:
    """Digits of all speakers, of the official test set."""
    found = sorted((fsdd / "recordings").glob("*_[0-4].wav"))
    return found[:: len(found) // N_RECORDINGS][:N_RECORDINGS]


def classify_by_command(paths: list[Path], folder: Path) -> list[dict[str, Any]]:
    """The rows of ``earful classify``, in the order of the files."""
    out = folder / "results.jsonl"
    command = ["classify", *map(str, paths), "--top-k", "10", "--out", str(out)]
    done = CliRunner().invoke(build_app(), command, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    return [json.loads(line) for line in out.read_text("utf-8").splitlines()]


def classify_in_page(page: Page, paths: list[Path]) -> list[dict[str, Any]]:
    """The predictions of the page's engine, with all scores."""
    code = """async (files) => {
      const { Engine } = await import(new URL("web/on_device/engine.js", document.baseURI));
      const engine = await Engine.open(new URL(".", document.baseURI)), found = [];
      for (const [name, text] of files) {
        const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
        found.push(await engine.classify(new File([bytes], name), false, () => {}));
      }
      return found;
    }"""
    files = [(p.name, base64.b64encode(p.read_bytes()).decode()) for p in paths]
    found: list[dict[str, Any]] = page.evaluate(code, files)
    return found


def rows_of_page(page: Page, button: str) -> list[dict[str, str]]:
    """The rows of a CSV that a button downloads."""
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    text = download.value.path().read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


@pytest.mark.parametrize("kind", ["synthetic", "real"])
def test_twenty_recordings_have_the_labels_and_scores_of_the_command(
    kind: str, page: Page, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    paths: list[Path] = request.getfixturevalue(kind)
    assert len(paths) == N_RECORDINGS
    expected = classify_by_command(paths, tmp_path)
    page.set_input_files("#files", paths)
    expect(page.locator("#status")).to_have_text("20 files classified.", timeout=60_000)
    rows = rows_of_page(page, "Download CSV")
    assert [row["label"] for row in rows] == [row["label"] for row in expected]
    for row, wanted in zip(rows, expected, strict=True):
        assert float(row["score"]) == pytest.approx(wanted["score"], abs=TOLERANCE)
    for found, wanted in zip(classify_in_page(page, paths), expected, strict=True):
        scores = {entry["label"]: entry["score"] for entry in found["scores"]}
        wanted_scores = {entry["label"]: entry["score"] for entry in wanted["scores"]}
        assert scores == pytest.approx(wanted_scores, abs=TOLERANCE)
        assert found["seconds"] == pytest.approx(wanted["end"])


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg"])
def test_a_long_recording_has_the_events_of_the_command(
    kind: str, page: Page, tmp_path: Path
) -> None:
    path = tmp_path / f"long.{kind}"
    soundfile.write(path, long_recording(), 8_000)
    expected = classify_by_command([path], tmp_path)
    assert len(expected) == 16
    page.set_input_files("#files", path)
    expect(page.locator("td.label")).to_have_text("16 events", timeout=60_000)
    rows = rows_of_page(page, "Events CSV")
    assert [row["label"] for row in rows] == [row["label"] for row in expected]
    for name, tolerance in (
        ("start", 0.01),
        ("end", 0.01),
        ("score", 0.02 if kind == "ogg" else TOLERANCE),
    ):
        found = [float(row[name]) for row in rows]
        np.testing.assert_allclose(found, [row[name] for row in expected], atol=tolerance)
    expect(page.locator(".lane [role=option]").first).to_be_visible()


@pytest.mark.parametrize("rate_hz", [44_100, 44_101])
def test_another_rate_has_the_same_label(rate_hz: int, page: Page, tmp_path: Path) -> None:
    """The page's resampler is not soxr; what they differ in lies in a narrow band."""
    recording = decode((SAMPLES / "seven.ogg").read_bytes(), rate_hz).waveform
    path = tmp_path / "seven.wav"
    soundfile.write(path, recording, rate_hz)
    [expected] = classify_by_command([path], tmp_path)
    [found] = classify_in_page(page, [path])
    assert found["label"] == expected["label"] == "7"
    assert found["score"] == pytest.approx(expected["score"], abs=TOLERANCE)


def test_what_scores_too_low_is_unknown_on_request(page: Page) -> None:
    hum = {"name": "noise.wav", "mimeType": "audio/wav", "buffer": wav(noise(1.0, 0.05))}
    page.set_input_files("#files", [hum])  # type: ignore[arg-type]
    expect(page.locator("td.label")).to_have_count(1)
    assert page.locator("td.label").inner_text() in set("0123456789")
    page.get_by_label("unknown").check()
    page.set_input_files("#files", [hum])  # type: ignore[arg-type]
    expect(page.locator("td.label").nth(1)).to_have_text("unknown")


# --- the page ---


def test_the_site_works_without_a_network_once_it_was_opened(
    browser: Browser, root: Path, synthetic: list[Path]
) -> None:
    context = browser.new_context()
    with serve_folder(root) as url:
        page = ready(visit(context, url))
        page.evaluate("async () => { await navigator.serviceWorker.ready; }")
    page.goto(f"{address(url)}index.html?from=a-link")
    ready(page)
    page.set_input_files("#files", synthetic[0])
    expect(page.locator("#status")).to_have_text("1 file classified.")
    context.close()


# Whether the browser has another build, once it has looked for one, and the builds that it keeps.
UPDATE = """async () => {
  const registration = await navigator.serviceWorker.ready;
  await registration.update();
  while (registration.installing) await new Promise((resolve) => { setTimeout(resolve, 20); });
  return [Boolean(registration.waiting), (await caches.keys()).length];
}"""


def test_half_an_upload_does_not_replace_the_build_that_is_kept(
    browser: Browser, broken: Path
) -> None:
    site = broken / SUBFOLDER
    context = browser.new_context()
    with serve_folder(broken) as url:
        page = ready(visit(context, url))
        assert page.evaluate(UPDATE) == [False, 1]
        write_site(SHIPPED_MODEL, "second", site, read_web_runtime(web_runtime_package()))
        whole = (site / "model.onnx").read_bytes()
        (site / "model.onnx").write_bytes(whole[:-1000])
        assert page.evaluate(UPDATE) == [False, 1]
        page.reload()
        expect(page.locator("#model")).to_contain_text("digits ·", timeout=60_000)
        (site / "model.onnx").write_bytes(whole)
        assert page.evaluate(UPDATE) == [True, 2]
        page.close()
        page = ready(visit(context, url))
        expect(page.locator("#model")).to_contain_text("second ·")
    context.close()


def test_live_audio_gives_events_and_stops(page: Page) -> None:
    page.get_by_role("button", name="Listen live").click()
    expect(page.locator("#status")).to_have_text("Listening …")
    expect(page.locator("#events li").nth(4)).to_be_visible(timeout=30_000)
    spoken = [text.split()[0] for text in page.locator("#events li").all_inner_texts()]
    assert spoken[:5] == ["3", "1", "4", "1", "5"]
    page.get_by_role("button", name="Stop listening").click()
    expect(page.locator("#status")).to_have_text("Stopped listening.")


def test_a_hidden_page_stops_listening_and_says_so(page: Page) -> None:
    page.get_by_role("button", name="Listen live").click()
    expect(page.locator("#status")).to_have_text("Listening …")
    page.evaluate(HIDE)
    expect(page.locator("#status")).to_contain_text("The stream ended: the page was hidden")
    expect(page.get_by_role("button", name="Listen live")).to_be_visible()


def test_a_recording_is_classified_also_when_the_page_is_hidden(page: Page) -> None:
    page.get_by_role("button", name="Record").click()
    expect(page.locator("#status")).to_contain_text("Recording: 1 s")
    page.evaluate(HIDE)
    expect(page.locator("tr.row")).to_have_count(1)
    told = page.locator("#status")
    expect(told).to_contain_text("The recording ended early: the page was hidden")


@pytest.mark.parametrize(
    ("button", "told"),
    [("Listen live", "The stream ended"), ("Record", "Cannot record")],
)
def test_a_page_that_is_hidden_while_the_microphone_opens_does_not_use_it(
    button: str, told: str, page: Page
) -> None:
    page.evaluate("""() => {
      const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (what) => {
        await new Promise((resolve) => { window.answerPrompt = resolve; });
        return (window.given = await ask(what));
      };
    }""")
    page.get_by_role("button", name=button).click()
    page.evaluate(HIDE)
    page.evaluate("() => window.answerPrompt()")
    expect(page.locator("#status")).to_contain_text(f"{told}: the page was hidden")
    expect(page.get_by_role("button", name=button)).to_be_enabled()
    assert page.evaluate("() => window.given.getAudioTracks()[0].readyState") == "ended"


@pytest.mark.parametrize("button", ["Listen live", "Record"])
def test_a_microphone_that_is_lost_while_it_opens_is_told(button: str, page: Page) -> None:
    page.evaluate("""() => {
      const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (what) => {
        const stream = await ask(what);
        stream.getAudioTracks()[0].stop();
        return stream;
      };
    }""")
    page.get_by_role("button", name=button).click()
    told = page.locator("#status")
    expect(told).to_contain_text("Cannot use the microphone: the microphone was unplugged")
    expect(page.get_by_role("button", name=button)).to_be_enabled()


@pytest.mark.parametrize(
    ("button", "started", "told"),
    [
        ("Listen live", "Listening …", "The stream ended"),
        ("Record", "Recording: 1 s", "The recording ended early"),
    ],
)
def test_a_lost_microphone_ends_the_stream_or_the_recording(
    button: str, started: str, told: str, page: Page
) -> None:
    page.evaluate("""() => {
      const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      navigator.mediaDevices.getUserMedia = async (what) => (window.given = await ask(what));
    }""")
    page.get_by_role("button", name=button).click()
    expect(page.locator("#status")).to_contain_text(started)
    page.evaluate("() => window.given.getAudioTracks()[0].dispatchEvent(new Event('ended'))")
    expect(page.locator("#status")).to_contain_text(f"{told}: the microphone was unplugged")


def test_a_long_classification_can_be_cancelled(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "hour.wav"
    soundfile.write(path, np.resize(long_recording(), 8_000 * 1_200), 8_000)
    page.set_input_files("#files", path)
    expect(page.locator("#status")).to_have_text("Classifying …")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#status")).to_have_text("Cancelled: 0 of 1 file classified.")
    page.get_by_role("button", name="One digit").click()
    expect(page.locator("td.label")).to_have_text("7")


def test_a_file_that_the_browser_decodes_can_be_cancelled(page: Page) -> None:
    page.evaluate("""() => {
      OfflineAudioContext.prototype.decodeAudioData = () => new Promise(() => {});
    }""")
    page.get_by_role("button", name="One digit").click()
    expect(page.locator("#status")).to_have_text("Classifying …")
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator("#status")).to_have_text("Cancelled: 0 of 1 file classified.")
    expect(page.locator("tr.row")).to_have_count(0)


def test_files_that_are_dropped_before_the_model_is_open_wait_for_it(tab: Tab, host: str) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    tab.forget(address(host))
    page = tab.page
    page.route("**/model.json", hold)
    page.goto(address(host))
    expect(page.locator("#from-file")).to_have_count(0)  # scripts run
    for name in ("first.wav", "second.wav"):
        page.evaluate(DROP, [name, base64.b64encode(wav(tone("mid"))).decode()])
    expect(page.locator("#status")).to_have_text("The files wait for the model …")
    held[0].continue_()
    expect(page.locator("tr.row .open")).to_have_text(["first.wav", "second.wav"], timeout=60_000)


def test_corrections_of_two_sites_on_one_host_are_apart(
    tab: Tab, broken: Path, synthetic: list[Path]
) -> None:
    shutil.copytree(broken / SUBFOLDER, broken / "another")
    with serve_folder(broken) as url:
        tab.open(address(url))
        page = ready(tab.page)
        page.set_input_files("#files", synthetic[0])
        correct = page.get_by_label("Correct label of")
        correct.select_option("9")
        expect(page.locator("#corrections")).to_have_text("Download 1 correction")
        page.goto(f"{url}another/")
        ready(page)
        expect(page.locator("#corrections")).to_be_hidden()
        page.goto(f"{url}{SUBFOLDER}/?again")
        expect(page.locator("#corrections")).to_be_visible()


def test_the_page_fits_a_phone(browser: Browser, host: str) -> None:
    context = browser.new_context(viewport=PHONE)
    page = ready(visit(context, host))
    page.get_by_role("button", name="Sixteen digits").click()
    expect(page.locator(".lane [role=option]").first).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    context.close()


# --- what may go wrong ---


def test_bad_files_are_told_and_the_others_classified(page: Page, tmp_path: Path) -> None:
    good = wav(tone("mid"))
    files = {
        "good.wav": good,
        "cut.wav": good[:-1000],
        "empty.wav": b"",
        "thesis.txt": b"not audio " * 500,
        "long.wav": wav(np.zeros(3_601 * 4_000, np.float32), 4_000, "PCM_U8"),
    }
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    page.set_input_files("#files", [tmp_path / name for name in files])
    expect(page.locator("#status")).to_have_text("Errors in 4 of 5 files; see the table.")
    told = [row.inner_text() for row in page.locator("tr.row .failed").all()]
    for text, part in zip(
        told,
        ("declares more audio", "the file is empty", "cannot decode it", "at most 3600 s"),
        strict=True,
    ):
        assert part in text


def test_a_browser_without_webassembly_is_told(launch: Launch, host: str) -> None:
    with launch("--js-flags=--jitless") as browser:
        page = visit(browser.new_context(), host)
        expect(page.locator("#status")).to_contain_text("this browser has no WebAssembly")
        expect(page.locator("#files")).to_be_disabled()


@pytest.mark.parametrize(
    ("flags", "permissions", "reason"),
    [
        ([], ["microphone"], "none was found; plug one in"),
        ([FAKE_DEVICE], [], "permission was denied; allow it"),
    ],
    ids=["no microphone", "denied"],
)
def test_a_microphone_that_cannot_be_used_is_told(
    flags: list[str], permissions: list[str], reason: str, launch: Launch, host: str
) -> None:
    with launch(*flags) as browser:
        page = ready(visit(browser.new_context(permissions=permissions), host))
        for button in ("Listen live", "Record"):
            page.get_by_role("button", name=button).click()
            told = page.locator("#status")
            expect(told).to_contain_text(f"Cannot use the microphone: {reason}")
            page.evaluate("document.getElementById('status').textContent = ''")


def test_a_stream_that_cannot_start_is_not_called_a_fault_of_the_microphone(page: Page) -> None:
    page.evaluate("""() => {
      Worker.prototype.postMessage = function () {
        this.dispatchEvent(new ErrorEvent("error", { message: "out of memory" }));
      };
    }""")
    page.get_by_role("button", name="Listen live").click()
    expect(page.locator("#status")).to_have_text("Cannot listen: out of memory")
    expect(page.get_by_role("button", name="Listen live")).to_be_enabled()


@pytest.fixture
def broken(root: Path, tmp_path: Path) -> Path:
    """A copy of the server's folder, to break."""
    return Path(shutil.copytree(root, tmp_path / "host"))


def test_a_model_that_is_missing_or_wrong_is_told(tab: Tab, broken: Path) -> None:
    site = broken / SUBFOLDER
    described = json.loads((site / "model.json").read_text("utf-8"))
    described["golden"]["probabilities"].reverse()
    (site / "model.json").write_text(json.dumps(described))
    with serve_folder(broken) as url:
        tab.open(address(url))
        page, told = tab.page, tab.page.locator("#status")
        expect(told).to_contain_text("does not reproduce its golden example", timeout=60_000)
        (site / "model.onnx").unlink()
        page.reload()
        expect(told).to_contain_text("model.onnx does not load (404)")
        (site / "model.json").unlink()
        page.reload()
        expect(told).to_contain_text("model.json does not load")


def test_a_model_that_cannot_be_shown_is_told(tab: Tab, broken: Path) -> None:
    described = json.loads((broken / SUBFOLDER / "model.json").read_text("utf-8"))
    del described["clip_seconds"]
    (broken / SUBFOLDER / "model.json").write_text(json.dumps(described))
    with serve_folder(broken) as url:
        tab.open(address(url))
        page, told = tab.page, tab.page.locator("#status")
        reason = "The model cannot run in this browser"
        expect(told).to_contain_text(reason, timeout=60_000)
        page.evaluate("document.getElementById('status').textContent = ''")
        page.evaluate(DROP, ["a.wav", base64.b64encode(wav(tone("mid"))).decode()])
        expect(told).to_contain_text(reason)


def test_a_missing_module_of_the_worker_is_told(tab: Tab, broken: Path) -> None:
    (broken / SUBFOLDER / "web" / "on_device" / "session.js").unlink()
    with serve_folder(broken) as url:
        tab.open(address(url))
        told = tab.page.locator("#status")
        expect(told).to_contain_text("a file of the site is missing or does not load")
