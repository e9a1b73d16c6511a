"""What the static site leaves to the browser's decoder is bounded in length and in time."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from tests.fixtures.chromium import IN_CHROMIUM
from tests.fixtures.static_files import serve_folder
from tests.fixtures.webm import webm

pytestmark = IN_CHROMIUM
WEB = Path(__file__).parents[3] / "service" / "web"
# A player that finds nothing, and a decoder that gives nothing, as of a browser that hangs.
SILENT_PLAYER = "() => { window.Audio = class { addEventListener() {} removeAttribute() {} }; }"
SILENT_DECODER = """() => {
  OfflineAudioContext.prototype.decodeAudioData = () => new Promise(() => {});
}"""
FAST_CLOCK = """() => {
  const set = window.setTimeout;
  window.setTimeout = (call, ms) => set(call, ms / 100);
}"""
# The addresses of files that are not given back.
COUNT_ADDRESSES = """() => {
  const { createObjectURL, revokeObjectURL } = URL, open = window.addresses = new Set();
  URL.createObjectURL = (file) => {
    const url = createObjectURL.call(URL, file);
    open.add(url);
    return url;
  };
  URL.revokeObjectURL = (url) => {
    open.delete(url);
    revokeObjectURL.call(URL, url);
  };
}"""
# Decodes a file, and counts what is given to the decoder; `window.outcome` is what came of it.
START = """async (text) => {
  const { decodeFile } = await import("/on_device/decode_file.js");
  const decode = OfflineAudioContext.prototype.decodeAudioData;
  let decoded = 0;
  OfflineAudioContext.prototype.decodeAudioData = function (bytes) {
    decoded += 1;
    return decode.call(this, bytes);
  };
  const file = new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], "sound");
  window.cancelled = new AbortController();
  decodeFile(file, window.cancelled.signal)
    .then(({ samples, rateHz }) => ({ seconds: samples.length / rateHz }))
    .catch(({ name, code, message }) => ({ name, code, message }))
    .then((outcome) => { window.outcome = { ...outcome, decoded }; });
}"""


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    with serve_folder(WEB) as url:
        opened = browser.new_page()
        opened.goto(f"{url}icon.svg")
        yield opened
        opened.close()


def start(page: Page, blob: bytes) -> None:
    page.evaluate(START, base64.b64encode(blob).decode())


def outcome(page: Page) -> Any:
    return page.wait_for_function("window.outcome", timeout=60_000).json_value()


def test_a_recording_without_a_duration_is_decoded(page: Page) -> None:
    start(page, webm(30.0))
    assert outcome(page) == {"seconds": pytest.approx(30.0, abs=0.1), "decoded": 1}


def test_hours_without_a_duration_are_refused_before_they_are_decoded(page: Page) -> None:
    blob = webm(2 * 3600.0)
    assert len(blob) < 4_000_000
    start(page, blob)
    found = outcome(page)
    assert (found["code"], found["decoded"]) == ("too_long", 0)
    assert "at most 1800 s of this format at once: cut it, or write it as WAV" in found["message"]


@pytest.mark.parametrize(("n_bytes", "decoded"), [(4_000_000, 1), (4_000_001, 0)])
def test_a_file_of_unknown_length_is_bounded_in_bytes(
    n_bytes: int, decoded: int, page: Page
) -> None:
    start(page, b"not audio " * (n_bytes // 10) + b"." * (n_bytes % 10))
    found = outcome(page)
    assert found["decoded"] == decoded
    assert found["code"] == ("unsupported_format" if decoded else "too_large")
    assert decoded or "it has 4000001: cut it, or write it as WAV" in found["message"]


def test_a_player_that_never_answers_is_not_waited_for(page: Page) -> None:
    page.evaluate(FAST_CLOCK)
    page.evaluate(SILENT_PLAYER)
    page.evaluate(COUNT_ADDRESSES)
    start(page, webm(30.0))
    assert outcome(page)["seconds"] == pytest.approx(30.0, abs=0.1)
    assert page.evaluate("window.addresses.size") == 0


def test_a_player_that_is_cancelled_lets_go_of_the_file(page: Page) -> None:
    page.evaluate(SILENT_PLAYER)
    page.evaluate(COUNT_ADDRESSES)
    start(page, webm(30.0))
    assert page.evaluate("window.addresses.size") == 1
    page.evaluate("window.cancelled.abort()")
    assert outcome(page)["name"] == "AbortError"
    assert page.evaluate("window.addresses.size") == 0


def test_a_decoder_that_never_answers_ends_in_a_message(page: Page) -> None:
    page.evaluate(FAST_CLOCK)
    page.evaluate(SILENT_DECODER)
    start(page, webm(30.0))
    assert "has not answered in 120 s; cut it, or write it as WAV" in outcome(page)["message"]


def test_what_is_being_decoded_can_be_cancelled(page: Page) -> None:
    page.evaluate(SILENT_DECODER)
    start(page, webm(30.0))
    page.evaluate("window.cancelled.abort()")
    assert outcome(page)["name"] == "AbortError"
