"""Takes the README's picture of the page, service/deploy/page.png: five minutes of digits.

The digits are the recording `spaced_digits` of the benchmarks, made of real clips.

uv run --group dev python -m tests.service.web.take_picture ../shared
"""

import shutil
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from earful.models.registry.shipped import SHIPPED_MODEL
from tests.benchmarks.compose_recordings import spaced_digits
from tests.fixtures.server import running_server

PICTURE = Path(__file__).parents[3] / "service" / "deploy" / "page.png"
STEPS = 6  # to an event in the middle of what is shown


def main(data: Path) -> None:
    """Compose the recording, serve the shipped model, and take the picture."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        recording = spaced_digits(data, folder / "five-minutes.wav").path
        database = f"sqlite:///{folder}/feedback.db"
        options = ("--port", "8000", "--save-recordings", "feedback", "--feedback", database)
        environment = {"EARFUL_RECORDINGS_DIR": str(folder / "recordings")}
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with running_server(folder, SHIPPED_MODEL, *options, **environment) as server:
            page = browser.new_page(viewport={"width": 1000, "height": 700}, color_scheme="light")
            page.goto(server.url)
            page.set_input_files("#files", recording)
            expect(page.locator(".lane [role=option]").first).to_be_visible(timeout=120_000)
            page.locator(".lane").focus()
            for _ in range(STEPS):
                page.keyboard.press("ArrowRight")
            expect(page.locator(".event-facts")).to_contain_text(f"event {STEPS} of")
            page.locator("h1").click()  # no focus ring
            page.wait_for_timeout(3000)  # until the spectrogram is drawn
            page.screenshot(path=PICTURE, full_page=True)
        browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
