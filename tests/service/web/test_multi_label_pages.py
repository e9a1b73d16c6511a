"""The pages with a multi-label model: annotators can give several labels."""

from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.fixtures.chords import Chords, chord
from tests.fixtures.chromium import IN_CHROMIUM
from tests.fixtures.server import RunningServer, running_server
from tests.fixtures.synthetic_audio import wav

pytestmark = IN_CHROMIUM


@pytest.fixture(scope="module")
def server(chords: Chords, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("multi_label")
    options = ("--feedback", f"sqlite:///{folder}/f.db", "--save-recordings", "feedback")
    environment = {"EARFUL_RECORDINGS_DIR": str(folder / "audio")}
    with running_server(folder, chords.model, *options, **environment) as started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 390, "height": 800})
    opened = context.new_page()
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    context.close()
    assert errors == []


def labels_given_by(server: RunningServer, annotator: str) -> list[str]:
    with server.client() as client:
        rows: list[dict[str, Any]] = client.get(f"/v1/feedback/subjects/{annotator}").json()[
            "annotations"
        ]
    return [row["label"] for row in rows]


def test_several_labels_are_ticked_and_reviewed(page: Page, server: RunningServer) -> None:
    page.goto(server.url)
    page.locator("summary", has_text="Your name").click()
    page.fill("#annotator", "corrector")
    blob = wav(chord(("low", "mid")))
    page.set_input_files("#files", [{"name": "a.wav", "mimeType": "audio/wav", "buffer": blob}])
    expect(page.locator("td.label")).to_have_text("low|mid")
    expect(page.locator("ul.scores li")).to_have_count(3)
    choice = page.get_by_role("group", name="Correct label of a.wav")
    choice.locator("summary").click()
    choice.get_by_label("high").check()
    expect(page.locator("#status")).to_contain_text("Correction sent: a.wav is high ")
    choice.get_by_label("mid").check()
    expect(page.locator("#status")).to_contain_text("Correction sent: a.wav is high|mid ")
    expect(choice.locator("summary")).to_have_text("high|mid")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert labels_given_by(server, "corrector") == ["high", "high|mid"]

    page.goto(f"{server.url}/review")
    page.fill("#annotator", "reviewer")
    page.get_by_role("button", name="Start").click()
    expect(page.locator("#predicted")).to_contain_text("Predicted: low|mid")
    expect(page.locator("#labels button.predicted")).to_have_text(["2low", "3mid"])
    expect(page.locator("#accept")).to_contain_text("low|mid")
    page.keyboard.press("3")
    page.keyboard.press("1")
    page.keyboard.press("3")
    expect(page.locator("#accept span")).to_have_text("high")
    page.locator("#labels button", has_text="low").click()
    expect(page.locator("#labels button[aria-pressed=true]")).to_have_count(2)
    page.locator("#filter").fill("hum")
    page.get_by_role("button", name="New label: hum").click()
    expect(page.locator("#accept span")).to_have_text("high|low|hum")
    page.locator("#labels button", has_text="low").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("All clips done")
    assert labels_given_by(server, "reviewer") == ["high|hum|low"]
