"""Exported sites in Chromium: cold load, milliseconds a clip, and how far from the command line.

uv run --group dev python -m tests.benchmarks.browser --web-runtime FILE.tgz [MODEL ...]

FILE.tgz is what `npm pack` of the version in training/export/web_runtime.py fetches; with --data
DATA, its folders fsdd (8 kHz) and keywords (16 kHz) are compared. Each model is served from the
disk by a plain static server; the browser has one thread for it.
"""

import base64
import csv
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from playwright.sync_api import Browser, Page, sync_playwright

from earful.models.registry.find_model import find_model
from earful.service.classifier import Classifier
from earful.training.export.web_runtime import WebRuntime, read_web_runtime
from earful.training.export.web_site import write_site
from tests.fixtures.static_files import serve_folder
from tests.fixtures.synthetic_audio import noise, wav

ROUNDS, CLIPS = 7, 200
SHIPPED = ["digits", "digits-small"]
# Classifies files one after the other, and measures each from the file to its prediction.
CLASSIFY = """async (files) => {
  const { Engine } = await import(new URL("web/on_device/engine.js", document.baseURI));
  const engine = await Engine.open(new URL(".", document.baseURI)), found = [];
  for (const text of files) {
    const file = new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], "clip.wav");
    const started = performance.now();
    const { label, scores } = await engine.classify(file, false, () => {});
    found.push({ label, scores, ms: performance.now() - started });
  }
  return found;
}"""


def main(
    web_runtime: Annotated[Path, typer.Option()],
    models: Annotated[list[str] | None, typer.Argument()] = None,
    data: Annotated[Path | None, typer.Option()] = None,
    per_set: int = 300,
) -> None:
    """Print a table for each MODEL (a file or name), by default the shipped ones."""
    runtime = read_web_runtime(web_runtime)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    for name in models or SHIPPED:
        with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:

            def launch(playwright: Any = playwright) -> Browser:
                opened: Browser = playwright.chromium.launch(
                    executable_path=chromium, args=["--no-sandbox"]
                )
                return opened

            measure(launch, find_model(name), Path(folder), runtime, data, per_set)


def measure(
    launch: Any, model: Path, folder: Path, runtime: WebRuntime, data: Path | None, per_set: int
) -> None:
    site = write_site(model, model.stem, folder / "site", runtime)
    clip = folder / "clip.wav"
    clip.write_bytes(wav(noise(1.0, 0.05)))
    with serve_folder(site.path) as url:
        colds = [cold_load(launch(), url, clip) for _ in range(ROUNDS)]
        ready, answered = (statistics.median(column) for column in zip(*colds, strict=True))
        fastest = min(answered for _, answered in colds)
        print(f"{model.stem}: a site of {site.size_bytes / 1e6:.1f} MB")
        print(
            f"  cold: ready after {ready:.2f} s, first answer after {answered:.2f} s "
            f"(fastest {fastest:.2f} s)"
        )
        browser = launch()
        page = open_page(browser, url)
        times = [entry["ms"] for entry in classify(page, [clip] * CLIPS)][CLIPS // 10 :]
        low, middle, high = np.percentile(times, [10, 50, 90])
        print(f"  {middle:.1f} ms a clip of a second ({low:.1f} to {high:.1f}), file to answer")
        for labels in sorted(data.glob("*/labels.csv")) if data else ():
            compare(page, Classifier.open(model), labels, per_set)
        browser.close()


def open_page(browser: Browser, url: str) -> Page:
    page = browser.new_page()
    page.goto(url)
    page.locator("#files:enabled").wait_for(state="attached", timeout=60_000)
    return page


def cold_load(browser: Browser, url: str, clip: Path) -> tuple[float, float]:
    """Seconds from opening the page in a new browser until it is ready, and until it answers."""
    started = time.perf_counter()
    page = open_page(browser, url)
    ready = time.perf_counter() - started
    page.set_input_files("#files", clip)
    page.locator("td.label").wait_for()
    answered = time.perf_counter() - started
    browser.close()
    return ready, answered


def classify(page: Page, paths: list[Path]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate(
        CLASSIFY, [base64.b64encode(path.read_bytes()).decode() for path in paths]
    )
    return found


def compare(page: Page, classifier: Classifier, labels: Path, per_set: int) -> None:
    """Print how far the page's predictions for a set are from those of the command."""
    with labels.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    folder = next(f for f in (labels.parent / "recordings", labels.parent) if f.is_dir())
    paths = [folder / row["filename"] for row in rows][:: max(1, len(rows) // per_set)]
    found = classify(page, paths)
    worst, same = 0.0, 0
    for path, entry in zip(paths, found, strict=True):
        expected = classifier.classify_file(path)
        differences = [abs(s["score"] - expected.scores[s["label"]]) for s in entry["scores"]]
        worst, same = max(worst, *differences), same + (entry["label"] == expected.label)
    print(
        f"  {labels.parent.name}: {same} of {len(paths)} labels as those of the command, "
        f"scores within {worst:.1e}"
    )


if __name__ == "__main__":
    typer.run(main)
