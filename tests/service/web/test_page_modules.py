"""What the pages do when something of theirs fails: they say so and go on."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Route, expect

from tests.fixtures.chromium import IN_CHROMIUM
from tests.fixtures.static_files import serve_folder

pytestmark = IN_CHROMIUM
WEB = Path(__file__).parents[3] / "service" / "web"


def empty_page(route: Route) -> None:
    route.fulfill(body="<!doctype html><p id=status></p>", content_type="text/html")


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page with a status and nothing else."""
    with serve_folder(WEB) as url:
        opened = browser.new_page()
        opened.route("**/empty.html", empty_page)
        opened.goto(f"{url}empty.html")
        yield opened
        opened.close()


def test_files_that_fail_are_told_and_the_next_ones_have_their_turn(page: Page) -> None:
    classified = page.evaluate("""async () => {
      const { inTurn } = await import("/page.js"), classified = [];
      window.classify = inTurn(async ([{ name }]) => {
        if (name === "bad.wav") throw new Error("no row for it");
        classified.push(name);
      });
      for (const name of ["a.wav", "bad.wav"]) await window.classify([new File([], name)]);
      const status = document.getElementById("status").textContent;
      await window.classify([new File([], "b.wav")]);
      return [...classified, status];
    }""")
    assert classified == ["a.wav", "b.wav", "Cannot classify bad.wav: no row for it"]
    page.evaluate("window.classify([new File([], 'bad.wav'), new File([], 'b.wav')])")
    expect(page.locator("#status")).to_have_text("Cannot classify 2 files: no row for it")


def test_files_are_told_when_what_they_wait_for_fails(page: Page) -> None:
    page.evaluate("""async () => {
      const { inTurn } = await import("/page.js");
      await inTurn(async () => {}, Promise.reject(new Error("no model")))([new File([], "a.wav")]);
    }""")
    expect(page.locator("#status")).to_have_text("Cannot classify a.wav: no model")


def test_an_answer_that_comes_after_a_failure_of_the_worker_is_ignored(page: Page) -> None:
    found = page.evaluate("""async () => {
      const { Engine } = await import("/on_device/engine.js"), errors = [];
      window.addEventListener("error", ({ message }) => errors.push(message));
      const engine = new Engine();
      const answer = engine.ask("stop").catch(({ message }) => message);
      const late = new Promise((resolve) => engine.worker.addEventListener("message", resolve));
      engine.fail("out of memory");
      const { data } = await late;
      return [await answer, data.id, errors];
    }""")
    assert found == ["out of memory", 1, []]
