"""The timeline of long recordings on the main page, in a real browser with a real server."""

import csv
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from playwright.sync_api import Browser, Page, Route, ViewportSize, expect

from earful.data.audio.decode import resample
from earful.models.registry.shipped import SHIPPED_MODEL
from tests.benchmarks.compose_recordings import join, official_test, write
from tests.fixtures.chromium import IN_CHROMIUM
from tests.fixtures.server import RunningServer, running_server
from tests.fixtures.synthetic_audio import PITCHES_HZ, RATE_HZ, noise, overlay_at, tone, wav
from tests.fixtures.tab import Tab
from tests.fixtures.waiting import wait_until

pytestmark = IN_CHROMIUM
LABELS = list(PITCHES_HZ)
TONE_SECONDS = 0.4
# (label, start in seconds) of the tones in 50 s of noise.
TONES = [(LABELS[n % 3], 1.5 + 4 * n + 0.1 * (n % 4)) for n in range(12)]
# The detector works in blocks of 20 ms, and the browser's clock in frames.
TOLERANCE_SECONDS = 0.15
PHONE = ViewportSize(width=360, height=740)
# An hour at 8 kHz, in which a stretch of a minute is repeated.
HOUR_TONES_PER_MINUTE = 33


def long_recording(tones: list[tuple[str, float]], seconds: float) -> NDArray[np.int16]:
    sound = noise(seconds, 1e-4)
    for label, start in tones:
        sound = overlay_at(tone(label, TONE_SECONDS), start, sound)
    return np.round(sound * 32767).astype(np.int16)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "meeting.wav"
    soundfile.write(path, long_recording(TONES, 50), RATE_HZ)
    return path


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A service that saves what is corrected."""
    folder = tmp_path_factory.mktemp("timeline")
    options = ("--feedback", f"sqlite:///{folder}/f.db", "--save-recordings", "feedback")
    with running_server(folder, model, *options, **environment(folder)) as started:
        yield started


@pytest.fixture(scope="module")
def plain_server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A service without feedback."""
    folder = tmp_path_factory.mktemp("plain")
    with running_server(folder, model, "--feedback", "off", **environment(folder)) as started:
        yield started


def environment(folder: Path) -> dict[str, str]:
    return {"EARFUL_RECORDINGS_DIR": str(folder / "audio")}


@pytest.fixture
def page(tab: Tab, server: RunningServer) -> Iterator[Page]:
    with opened(tab, server) as page:
        yield page


@contextmanager
def opened(tab: Tab, server: RunningServer) -> Iterator[Page]:
    """The page of a server; what its Content Security Policy refuses fails the test."""
    with tab.visit(f"{server.url}/") as page:
        expect(page.locator("#knows")).to_contain_text("Knows 3 labels, in clips of 1 s")
        yield page
    assert [text for text in tab.error_messages if "Content Security Policy" in text] == []


def classify(page: Page, path: Path, events: int = len(TONES)) -> None:
    page.set_input_files("#files", path)
    expect(page.locator("td.label")).to_have_text(f"{events} events", timeout=120_000)
    expect(page.locator(".timeline .lane")).to_be_visible()


def events_in_view(page: Page) -> list[tuple[str, float, float]]:
    """(label, left and right edge as a part of the lane's width) of each block, in order."""
    lane = page.locator(".lane").bounding_box()
    assert lane is not None
    found = []
    for block in page.locator(".lane [role=option]").all():
        box = block.bounding_box()
        assert box is not None
        edges = [(x - lane["x"]) / lane["width"] for x in (box["x"], box["x"] + box["width"])]
        found.append((block.inner_text(), edges[0], edges[1]))
    return sorted(found, key=lambda block: block[1])


def is_drawn(page: Page, canvas: str) -> bool:
    pixels = "c.getContext('2d').getImageData(0, 0, c.width, c.height).data"
    return bool(page.locator(canvas).evaluate(f"c => new Set({pixels}).size > 3"))


def player_time(page: Page) -> float:
    return float(page.locator(".timeline audio").evaluate("a => a.currentTime"))


def wait_until_paused(page: Page) -> None:
    wait_until(lambda: bool(page.locator(".timeline audio").evaluate("a => a.paused")))


def test_events_are_blocks_at_their_times_under_the_plots(page: Page, recording: Path) -> None:
    classify(page, recording)
    page.get_by_role("button", name="Show the whole recording").click()
    expect(page.locator(".overview")).to_have_attribute("aria-valuetext", "0:00 to 0:50 of 0:50")
    blocks = events_in_view(page)
    assert [label for label, _, _ in blocks] == [label for label, _ in TONES]
    lefts = [50 * left for _, left, _ in blocks]
    np.testing.assert_allclose(lefts, [start for _, start in TONES], atol=TOLERANCE_SECONDS)
    for canvas in (".overview canvas", ".plot.wave canvas", ".plot.mel canvas", ".axis canvas"):
        wait_until(lambda canvas=canvas: is_drawn(page, canvas))
    expect(page.locator(".legend li")).to_have_text([f"{label} × 4" for label in LABELS])


def test_a_click_plays_the_event_and_stops_at_its_end(page: Page, recording: Path) -> None:
    classify(page, recording)
    page.locator(".lane [role=option]").nth(2).click()
    label, start = TONES[2]
    expect(page.locator(".event-label")).to_have_text(label)
    expect(page.locator(".event-facts")).to_contain_text("event 3 of 12")
    wait_until(lambda: player_time(page) > start + TONE_SECONDS / 2)
    wait_until_paused(page)
    assert player_time(page) == pytest.approx(start + TONE_SECONDS, abs=2 * TOLERANCE_SECONDS)


def test_the_keyboard_moves_plays_zooms_and_pans(page: Page, recording: Path) -> None:
    classify(page, recording)
    page.locator(".lane").focus()
    shown = page.locator(".overview")
    for key, event in [("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", 12)]:
        page.keyboard.press(key)
        expect(page.locator(".event-facts")).to_contain_text(f"event {event} of 12")
        named = re.compile(rf"-{event - 1}$")
        expect(page.locator(".lane")).to_have_attribute("aria-activedescendant", named)
        active = page.locator(".lane").get_attribute("aria-activedescendant")
        expect(page.locator(f"#{active}")).to_have_attribute("aria-posinset", str(event))
        expect(page.locator(f"#{active}")).to_have_attribute("aria-selected", "true")
        expect(page.locator(f"#{active}")).to_be_in_viewport()
    page.keyboard.press("Enter")
    wait_until(lambda: player_time(page) > TONES[11][1])
    wait_until_paused(page)
    page.keyboard.press("0")
    expect(shown).to_have_attribute("aria-valuetext", "0:00 to 0:50 of 0:50")
    page.keyboard.press("Home")
    for _ in range(4):
        page.keyboard.press("+")
    expect(shown).not_to_have_attribute("aria-valuenow", "0.0")
    expect(page.locator(".lane [role=option]")).to_have_count(2)
    page.keyboard.press("-")
    page.keyboard.press("PageUp")
    page.keyboard.press("PageUp")
    expect(shown).to_have_attribute("aria-valuenow", "0.0")
    shown.focus()
    page.keyboard.press("End")
    expect(shown).to_have_attribute("aria-valuetext", re.compile("to 0:50 of 0:50"))


def test_wheel_zooms_at_the_pointer_and_a_drag_pans(page: Page, recording: Path) -> None:
    classify(page, recording)
    box = page.locator(".plot.wave").bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = seconds_shown(page)
    page.mouse.move(x, y)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -300)
    page.keyboard.up("Control")
    wait_until(lambda: seconds_shown(page)[0] > 1)
    start, end = seconds_shown(page)
    assert end - start < 0.7 * (before[1] - before[0])
    assert (start + end) / 2 == pytest.approx(sum(before) / 2, abs=1.0)
    page.mouse.down()
    page.mouse.move(x - box["width"] / 4, y, steps=4)
    page.mouse.up()
    wait_until(lambda: seconds_shown(page)[0] > start + 1)
    assert seconds_shown(page)[0] == pytest.approx(start + (end - start) / 4, abs=0.3)
    assert player_time(page) == 0  # a drag is no click


def seconds_shown(page: Page) -> tuple[float, float]:
    """Start and end of the view."""
    overview = page.locator(".overview")
    start = float(overview.get_attribute("aria-valuenow") or "nan")
    span = 50 - float(overview.get_attribute("aria-valuemax") or "nan")
    return start, start + span


def test_a_correction_sends_and_saves_exactly_the_stretch(
    page: Page, server: RunningServer, recording: Path
) -> None:
    page.locator("summary", has_text="Your name").click()
    page.fill("#annotator", "listener")
    classify(page, recording)
    block = page.locator(".lane [role=option]").nth(1)
    block.click()
    start, end = event_times(page, recording, 1)
    page.get_by_label("Correct label of event 2").select_option("high")
    status = page.locator(".event-status")
    expect(status).to_contain_text("is high (recording saved)")
    expect(block).to_have_text("high")
    expect(block).to_have_attribute("aria-label", re.compile("^high, corrected from mid"))
    [annotation] = stored(server, "listener")["annotations"]
    assert (annotation["label"], annotation["source"]) == ("high", "page")
    sound, rate_hz = soundfile.read(recording, dtype="int16")
    with server.client() as client:
        saved = client.get(f"/v1/review/audio/{annotation['sha256']}").content
    stretch, stretch_rate_hz = soundfile.read(io.BytesIO(saved), dtype="int16")
    assert stretch_rate_hz == rate_hz
    np.testing.assert_array_equal(stretch, sound[round(start * rate_hz) : round(end * rate_hz)])
    expect(page.locator("#corrections")).to_be_hidden()  # nothing is left in the browser

    page.get_by_label("Correct label of event 2").select_option("")
    expect(status).to_contain_text("Correction withdrawn")
    expect(block).to_have_text("mid")
    latest = stored(server, "listener")["annotations"][-1]
    assert (latest["label"], latest["sha256"]) == (None, annotation["sha256"])


def stored(server: RunningServer, annotator: str) -> dict[str, Any]:
    with server.client() as client:
        data: dict[str, Any] = client.get(f"/v1/feedback/subjects/{annotator}").json()
    return data


def event_times(page: Page, recording: Path, index: int) -> tuple[float, float]:
    """Start and end of an event, from the page's own CSV."""
    row = download_events(page, recording.parent / "times.csv")[index]
    return float(row["start"]), float(row["end"])


def download_events(page: Page, path: Path, name: str = "meeting.wav") -> list[dict[str, str]]:
    with page.expect_download() as download:
        page.get_by_role("button", name="Events CSV").click()
    assert download.value.suggested_filename == f"{name}.events.csv"
    download.value.save_as(path)
    return list(csv.DictReader(path.read_text().splitlines()))


def test_without_feedback_a_correction_is_downloaded_with_its_times(
    tab: Tab, plain_server: RunningServer, recording: Path, tmp_path: Path
) -> None:
    with opened(tab, plain_server) as page:
        expect(page.locator("#review-link")).to_be_hidden()
        classify(page, recording)
        page.locator(".lane [role=option]").first.click()
        page.get_by_label("Correct label of event 1").select_option("high")
        expect(page.locator(".event-status")).to_contain_text("stored in this browser")
        page.get_by_role("button", name="Next event").click()
        page.get_by_role("button", name="Previous event").click()
        expect(page.get_by_label("Correct label of event 1")).to_have_value("high")
        start, end = event_times(page, recording, 0)
        page.reload()
        with page.expect_download() as download:
            page.get_by_role("button", name="Download 1 correction").click()
    path = tmp_path / "corrections.csv"
    download.value.save_as(path)
    assert path.read_text() == f"filename,label,start,end\nmeeting.wav,high,{start:g},{end:g}\n"


def test_events_are_downloaded_as_csv_and_audacity_labels(
    page: Page, server: RunningServer, recording: Path, tmp_path: Path
) -> None:
    classify(page, recording)
    with server.client() as client:
        answer = client.post("/v1/classify", content=recording.read_bytes()).json()
    events = answer["results"][0]["events"]
    rows = download_events(page, tmp_path / "events.csv")
    assert [
        {
            "start": float(r["start"]),
            "end": float(r["end"]),
            "label": r["label"],
            "score": float(r["score"]),
        }
        for r in rows
    ] == events
    assert {row["filename"] for row in rows} == {"meeting.wav"}
    with page.expect_download() as download:
        page.get_by_role("button", name="Audacity labels").click()
    path = tmp_path / "track.txt"
    download.value.save_as(path)
    lines = [line.split("\t") for line in path.read_text().splitlines()]
    assert [(float(a), float(b), c) for a, b, c in lines] == [
        (event["start"], event["end"], event["label"]) for event in events
    ]


def test_a_correction_of_a_file_that_has_gone_is_kept_in_the_browser(
    page: Page, tmp_path: Path
) -> None:
    """The browser reads the stretch when it is corrected, and refuses a file that has changed."""
    path = tmp_path / "meeting.flac"
    soundfile.write(path, long_recording(TONES, 50), RATE_HZ)
    classify(page, path)
    wait_until(lambda: is_drawn(page, ".plot.mel canvas"))
    path.unlink()
    page.locator(".lane").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_label("Correct label of event 1").select_option("high")
    expect(page.locator(".event-status")).to_contain_text("is stored in this browser")


def test_the_map_of_an_event_follows_the_selection(page: Page, recording: Path) -> None:
    classify(page, recording)
    page.locator(".lane").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_text("Where the model listened").click()
    note = page.locator(".event-map .note")
    for label, _ in TONES[:3]:
        expect(note).to_contain_text(f"“{label}”")
        expect(page.locator(".event-map canvas")).to_be_visible()
        assert is_drawn(page, ".event-map canvas")
        page.get_by_role("button", name="Next event").click()
    page.get_by_text("Where the model listened").click()
    expect(note).to_be_hidden()


def test_the_map_waits_for_a_recording_that_opens_slowly(page: Page, recording: Path) -> None:
    held: list[Route] = []
    page.route("**/recording_worker.js", lambda route: held.append(route))  # noqa: PLW0108
    classify(page, recording)
    page.locator(".lane").focus()
    page.keyboard.press("ArrowRight")
    page.get_by_text("Where the model listened").click()
    note = page.locator(".event-map .note")
    expect(note).to_have_text("…")
    [worker] = held
    worker.continue_()
    expect(note).to_contain_text(f"“{TONES[0][0]}”")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_timeline_fits_a_phone_in_light_and_dark(
    browser: Browser, server: RunningServer, recording: Path, scheme: str
) -> None:
    context = browser.new_context(color_scheme=scheme, has_touch=True)  # type: ignore[arg-type]
    with opened(Tab(context, PHONE), server) as page:
        check_layout(page, recording, scheme)
    context.close()


def check_layout(page: Page, recording: Path, scheme: str) -> None:
    classify(page, recording)
    others = [
        ("a-short-clip.wav", wav(tone("mid", TONE_SECONDS))),
        ("no-audio.wav", b"no audio" * 99),
    ]
    files = [{"name": n, "mimeType": "audio/wav", "buffer": content} for n, content in others]
    page.set_input_files("#files", files)
    expect(page.locator("td.failed")).to_contain_text("not audio")
    page.get_by_role("button", name="a-short-clip.wav").click()
    expect(page.get_by_role("button", name="Where the model listened")).to_be_visible()
    page.locator(".lane [role=option]").first.tap()
    expect(page.locator(".event-label")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    assert page.locator(".scroll").evaluate("e => e.scrollWidth - e.clientWidth") == 0
    for name in ("Zoom in", "Play event", "Events CSV"):
        expect(page.get_by_role("button", name=name)).to_be_visible()
    brightness = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0]")
    assert (int(brightness) < 128) == (scheme == "dark")


@pytest.mark.parametrize(
    ("suffix", "rate_hz", "channels", "tolerance"),
    [
        ("flac", 8_000, 1, 0),
        ("flac", 44_100, 2, 2),
        ("mp3", 8_000, 1, 300),
        ("mp3", 44_100, 2, 300),
    ],
)
def test_compressed_recordings_are_read_in_pieces_and_cut_at_the_right_place(
    page: Page,
    server: RunningServer,
    tmp_path: Path,
    suffix: str,
    rate_hz: int,
    channels: int,
    tolerance: int,
) -> None:
    """``tolerance`` in steps of 16 bits, from what the server decodes of the same stretch."""
    sound = resample(long_recording(TONES, 50).astype(np.float32) / 32768, RATE_HZ, rate_hz)
    path = tmp_path / f"meeting.{suffix}"
    soundfile.write(path, np.stack([sound] * channels, axis=1), rate_hz)
    annotator = f"{suffix}-{rate_hz}"
    page.evaluate("delete window.OfflineAudioContext")  # decodes recordings as a whole
    page.locator("summary", has_text="Your name").click()
    page.fill("#annotator", annotator)
    classify(page, path)
    wait_until(lambda: is_drawn(page, ".plot.mel canvas"))
    page.locator(".lane").focus()
    page.keyboard.press("End")
    page.get_by_label("Correct label of event 12").select_option("low")
    expect(page.locator(".event-status")).to_contain_text("is low (recording saved)")
    with server.client() as client:
        events = client.post("/v1/classify", content=path.read_bytes()).json()["results"][0][
            "events"
        ]
        [annotation] = stored(server, annotator)["annotations"]
        saved = client.get(f"/v1/review/audio/{annotation['sha256']}").content
    stretch, stretch_rate_hz = soundfile.read(io.BytesIO(saved), dtype="int16")
    assert stretch_rate_hz == rate_hz
    whole = soundfile.read(path, dtype="int16", always_2d=True)[0].mean(axis=1)
    start, end = (round(events[11][edge] * rate_hz) for edge in ("start", "end"))
    assert np.abs(stretch - whole[start:end]).max() <= tolerance


def test_a_format_that_the_browser_cannot_read_has_a_timeline_without_plots(
    page: Page, recording: Path, tmp_path: Path
) -> None:
    sound, rate_hz = soundfile.read(recording, dtype="int16")
    path = tmp_path / "meeting.aiff"
    soundfile.write(path, sound, rate_hz, format="AIFF")
    classify(page, path)
    expect(page.locator(".unreadable")).to_contain_text("cannot draw this recording")
    expect(page.locator(".plot.wave")).to_have_count(0)
    page.locator(".lane").focus()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".event-label")).to_have_text(TONES[0][0])
    page.get_by_label("Correct label of event 1").select_option("mid")
    expect(page.locator(".event-status")).to_contain_text("stored in this browser")


def test_real_digits_are_blocks_at_their_times(tab: Tab, fsdd: Path, tmp_path: Path) -> None:
    clips = official_test(fsdd.parent).draw(30, seed=4)
    digits = write(tmp_path / "digits.wav", *join(clips, 8_000, (0.4, 2), seed=4), 8_000).events
    options = ("--feedback", "off")
    with running_server(tmp_path, SHIPPED_MODEL, *options) as server:
        tab.open(f"{server.url}/")
        page = tab.page
        classify(page, tmp_path / "digits.wav", events=30)
        page.get_by_role("button", name="Show the whole recording").click()
        overview = page.locator(".overview")
        expect(overview).to_have_attribute("aria-valuetext", re.compile("^0:00 to 0:5"))
        blocks = page.locator(".lane [role=option]")
        expect(blocks).to_have_text([event.label for event in digits])
        rows = download_events(page, tmp_path / "events.csv", "digits.wav")
        middles = [(float(row["start"]) + float(row["end"])) / 2 for row in rows]
        expected = [(event.start_seconds + event.end_seconds) / 2 for event in digits]
        np.testing.assert_allclose(middles, expected, atol=TOLERANCE_SECONDS)


def test_a_damaged_recording_has_the_events_before_the_damage(
    page: Page, recording: Path, tmp_path: Path
) -> None:
    path = tmp_path / "cut.wav"
    path.write_bytes(recording.read_bytes()[: 44 + 2 * RATE_HZ * 20])
    page.set_input_files("#files", path)
    expect(page.locator("td.label")).to_contain_text("(5 events before)")
    expect(page.locator(".lane [role=option]")).to_have_count(5)
    wait_until(lambda: is_drawn(page, ".plot.wave canvas"))


def test_a_recording_without_events_has_a_timeline(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "quiet.wav"
    soundfile.write(path, noise(20, 1e-4), RATE_HZ)
    page.set_input_files("#files", path)
    expect(page.locator("td.label")).to_have_text("no events")
    expect(page.locator(".timeline .lane")).to_be_visible()
    page.locator(".lane").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(page.locator(".event-panel")).to_be_hidden()


def test_silence_is_dark(page: Page, tmp_path: Path) -> None:
    path = tmp_path / "silent.wav"
    soundfile.write(path, np.zeros(20 * RATE_HZ), RATE_HZ)
    page.set_input_files("#files", path)
    expect(page.locator("td.label")).to_have_text("no events")
    drawn = "c => c.getContext('2d').getImageData(5, 5, 1, 1).data[3]"
    canvas = page.locator(".plot.mel canvas")
    wait_until(lambda: canvas.evaluate(drawn) == 255)
    color = canvas.evaluate("c => [...c.getContext('2d').getImageData(5, 5, 1, 1).data]")
    assert max(color[:3]) < 60


def test_an_hour_keeps_the_page_small_and_responsive(
    page: Page, recording: Path, tmp_path: Path
) -> None:
    step = 60 / HOUR_TONES_PER_MINUTE
    minute = long_recording(
        [(LABELS[n % 3], 0.3 + step * n) for n in range(HOUR_TONES_PER_MINUTE)], 60
    )
    path = tmp_path / "meeting.wav"
    soundfile.write(path, np.tile(minute, 60), RATE_HZ)
    classify(page, path, events=60 * HOUR_TONES_PER_MINUTE)
    expect(page.locator(".overview")).to_have_attribute("aria-valuetext", re.compile("of 1:00:00"))
    page.get_by_role("button", name="Show the whole recording").click()
    expect(page.locator(".overview")).to_have_attribute(
        "aria-valuetext", "0:00 to 1:00:00 of 1:00:00"
    )
    expect(page.locator(".lane [role=option]")).to_have_count(0)  # ticks on a canvas
    page.locator(".lane").focus()
    page.keyboard.press("End")
    expect(page.locator(".event-facts")).to_contain_text("event 1980 of 1980")
    for _ in range(14):
        page.keyboard.press("+")
    expect(page.locator(".lane [role=option]").last).to_have_attribute("aria-posinset", "1980")
    assert page.evaluate("document.querySelectorAll('*').length") < 400
    pixels = page.evaluate(
        "[...document.querySelectorAll('canvas')].reduce((n, c) => n + c.width * c.height, 0)"
    )
    assert pixels < 2_000_000
