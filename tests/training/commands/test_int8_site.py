"""An INT8 model as a site: in the folder as it is, and as the command answers in a browser."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from earful.models.bundle.bundle import INT8_GOLDEN_TOLERANCE
from earful.service.classifier import Classifier
from tests.fixtures.static_files import serve_folder
from tests.fixtures.web_runtime import web_runtime_package
from tests.training.commands.conftest import Home, RunCommand

pytestmark = pytest.mark.slow

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def site(int8_model: Path, earful: RunCommand, tmp_path_factory: pytest.TempPathFactory) -> Path:
    package, out = web_runtime_package(), tmp_path_factory.mktemp("int8") / "site"
    result = earful("export", int8_model, "--target", "web", "--out", out, "--web-runtime", package)
    assert result.exit_code == 0, result.output
    return out


def test_the_site_has_the_file_and_allows_what_int8_rounds(int8_model: Path, site: Path) -> None:
    assert (site / "model.onnx").read_bytes() == int8_model.read_bytes()
    written = json.loads((site / "model.json").read_text("utf-8"))
    assert written["golden"]["tolerance"] == INT8_GOLDEN_TOLERANCE


@pytest.mark.browser
@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt install chromium)")
def test_a_browser_gives_the_scores_of_the_command(
    home: Home, int8_model: Path, site: Path
) -> None:
    from playwright.sync_api import expect, sync_playwright

    paths = sorted(home.labels.parent.glob("*.wav"))[::6]
    with sync_playwright() as playwright, serve_folder(site) as url:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(url)
        expect(page.locator("#knows")).to_contain_text("Knows 3 labels", timeout=60_000)
        page.set_input_files("#files", paths)
        expect(page.locator("#status")).to_have_text("10 files classified.", timeout=60_000)
        with page.expect_download() as download:
            page.get_by_role("button", name="Download CSV").click()
        rows = list(csv.DictReader(download.value.path().read_text("utf-8").splitlines()))
        browser.close()
    classifier = Classifier.open(int8_model)
    for path, row in zip(paths, rows, strict=True):
        scores = classifier.classify_file(path).scores
        expected = pytest.approx(scores[row["label"]], abs=INT8_GOLDEN_TOLERANCE)
        assert float(row["score"]) == expected
