"""Feedback in a real browser: corrections on the main page, and the review page by keyboard."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.fixtures.server import RunningServer, running_server
from tests.fixtures.synthetic_audio import PITCHES_HZ, noise, tone, wav

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt install chromium)"),
]
HOSTILE = "<img src=x onerror=alert(1)>"
KEY = "f" * 20


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A service with a saved and labelled clip of each pitch and of noise."""
    folder = tmp_path_factory.mktemp("review")
    options = ("--feedback", f"sqlite:///{folder}/f.db", "--save-recordings", "feedback")
    environment = {
        "EARFUL_RECORDINGS_DIR": str(folder / "audio"),
        "EARFUL_API_KEYS": f"classify:{KEY},feedback:{KEY}",
    }
    with running_server(folder, model, *options, **environment) as started:
        waveforms = [tone(label) for label in PITCHES_HZ] + [noise(1.0, 0.1)]
        with started.client() as client:
            for number, waveform in enumerate(waveforms):
                data = {"label": "low", "annotator": HOSTILE, "source": "api"}
                if number == 0:
                    data |= {"label": HOSTILE, "new_label": "true"}
                files = {"file": ("x.wav", wav(waveform))}
                headers = {"x-api-key": KEY}
                response = client.post("/v1/feedback", data=data, files=files, headers=headers)
                assert response.status_code == 201
        yield started


@pytest.fixture
def page(browser: Browser, server: RunningServer) -> Iterator[Page]:
    """A narrow page; a script error, a dialog or a request to another host fails the test."""
    context = browser.new_context(viewport={"width": 390, "height": 800})
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("dialog", lambda dialog: errors.append(dialog.message))
    opened.on(
        "request",
        lambda r: None if r.url.startswith((server.url, "blob:")) else errors.append(r.url),
    )
    yield opened
    context.close()
    assert errors == []


def start_review(page: Page, server: RunningServer, annotator: str) -> None:
    page.goto(f"{server.url}/review")
    page.locator("summary").click()
    page.fill("#key", KEY)
    page.fill("#annotator", annotator)
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#count")).to_contain_text("clips labelled by you")


def test_clips_are_labelled_skipped_and_undone_by_keyboard(
    page: Page, server: RunningServer
) -> None:
    start_review(page, server, "keyboard")
    expect(page.locator("#count")).to_have_text("0 of 4 clips labelled by you")
    expect(page.locator("#labels button")).to_have_text(["1high", "2low", "3mid", f"4{HOSTILE}"])
    expect(page.locator("#reason")).to_have_text("labels disagree")
    for plot in ("#wave", "#mel"):
        expect(page.locator(plot)).to_be_visible()
    page.wait_for_selector("#player[src^='blob:']")
    first = page.locator("#predicted").inner_text()
    page.keyboard.press("1")
    expect(page.locator("#status")).to_have_text("Labelled: high")
    expect(page.locator("#count")).to_have_text("1 of 4 clips labelled by you")
    page.keyboard.press("Enter")  # accept the prediction
    expect(page.locator("#count")).to_have_text("2 of 4 clips labelled by you")
    page.keyboard.press("Backspace")
    page.keyboard.press("Backspace")
    expect(page.locator("#count")).to_have_text("0 of 4 clips labelled by you")
    expect(page.locator("#predicted")).to_have_text(first)
    page.keyboard.press("ArrowRight")
    expect(page.locator("#predicted")).not_to_have_text(first)
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#predicted")).to_have_text(first)
    page.locator("#filter").fill("mi")
    expect(page.locator("#labels button:visible")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_have_text("Labelled: mid")
    page.locator("#filter").fill("hum")
    page.get_by_role("button", name="New label: hum").click()
    expect(page.locator("#count")).to_have_text("2 of 4 clips labelled by you")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    start_review(page, server, "keyboard")  # labelled clips are not offered again
    expect(page.locator("#count")).to_have_text("2 of 4 clips labelled by you")


def test_missing_api_key_is_reported(page: Page, server: RunningServer) -> None:
    page.goto(f"{server.url}/review")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#status")).to_contain_text("an API key is required")


def test_correction_is_sent_to_the_server_or_stored_in_the_browser_without_a_key(
    page: Page, server: RunningServer
) -> None:
    page.goto(server.url)
    page.locator("summary", has_text="API key").click()
    page.fill("#key", KEY)
    page.locator("summary", has_text="Your name").click()
    page.fill("#annotator", "corrector")
    content = wav(tone("mid", 0.45))
    page.set_input_files("#files", [{"name": "a.wav", "mimeType": "audio/wav", "buffer": content}])
    choice = page.get_by_label("Correct label of a.wav")
    expect(page.locator("#feedback-note")).to_contain_text("together with the recording")
    choice.select_option("low")
    expect(page.locator("#status")).to_have_text("Correction sent: a.wav is low (recording saved).")
    choice.select_option("")
    expect(page.locator("#status")).to_have_text("Correction withdrawn: a.wav.")
    expect(page.locator("#corrections")).to_be_hidden()
    page.fill("#key", "wrong")
    choice.select_option("high")
    expect(page.locator("#status")).to_contain_text("is stored in this browser")
    expect(page.locator("#corrections")).to_have_text("Download 1 correction")
