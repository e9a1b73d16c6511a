"""Takes the pictures of the page with five minutes of digits: of a server, and of a static site.

The digits are the recording `spaced_digits` of the benchmarks, made of real clips. The pictures
are service/deploy/page.png and service/deploy/site.png.

uv run --group dev python -m tests.service.web.take_picture ../shared onnxruntime-web-1.30.0.tgz
"""

import shutil
import sys
import tempfile
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, expect, sync_playwright

from earful.models.registry.shipped import SHIPPED_MODEL
from earful.training.export.web_runtime import read_web_runtime
from earful.training.export.web_site import write_site
from tests.benchmarks.compose_recordings import spaced_digits
from tests.fixtures.server import running_server
from tests.fixtures.static_files import serve_folder

PICTURES = Path(__file__).parents[3] / "service" / "deploy"
STEPS = 6  # to an event in the middle of what is shown


def main(data: Path, runtime: Path) -> None:
    """Compose the recording, serve the shipped model and its site, and take the pictures."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        recording = spaced_digits(data, folder / "five-minutes.wav").path
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        database = f"sqlite:///{folder}/feedback.db"
        options = ("--port", "8000", "--save-recordings", "feedback", "--feedback", database)
        environment = {"EARFUL_RECORDINGS_DIR": str(folder / "recordings")}
        with running_server(folder, SHIPPED_MODEL, *options, **environment) as server:
            take_picture(browser, server.url, recording, PICTURES / "page.png")
        site = folder / "site"
        write_site(SHIPPED_MODEL, "digits", site, read_web_runtime(runtime))
        with serve_folder(site) as url:
            take_picture(browser, url, recording, PICTURES / "site.png")
        browser.close()


def take_picture(browser: Browser, url: str, recording: Path, picture: Path) -> None:
    """Classify a recording in the page at ``url``, and photograph its timeline."""
    page = browser.new_page(viewport={"width": 1000, "height": 700}, color_scheme="light")
    page.goto(url)
    expect(page.locator("#files")).to_be_enabled(timeout=60_000)  # the model of a site is open
    page.set_input_files("#files", recording)
    expect(page.locator(".lane [role=option]").first).to_be_visible(timeout=120_000)
    page.locator(".lane").focus()
    for _ in range(STEPS):
        page.keyboard.press("ArrowRight")
    expect(page.locator(".event-facts")).to_contain_text(f"event {STEPS} of")
    page.locator("h1").click()  # no focus ring
    page.wait_for_timeout(3000)  # until the spectrogram is drawn
    page.screenshot(path=picture, full_page=True)
    page.close()
    palette = Image.open(picture).quantize(
        256, Image.Quantize.MEDIANCUT, kmeans=3, dither=Image.Dither.NONE
    )
    palette.save(picture, optimize=True)  # half the bytes, and no difference that one would see


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
