"""What the start page says before a file is chosen, uploads, the samples, and an empty review."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import expect

from earful.models.registry.shipped import SHIPPED_MODEL
from tests.fixtures.chromium import IN_CHROMIUM
from tests.fixtures.server import RunningServer, running_server
from tests.fixtures.synthetic_audio import tone, wav
from tests.fixtures.tab import Tab
from tests.service.web.make_samples import DIGITS

pytestmark = IN_CHROMIUM
# A file that takes five seconds to send over the slowed connection.
SLOW_BYTES_PER_SECOND, SLOW_FILE_BYTES = 200_000, 1_000_000


@pytest.fixture(scope="module")
def server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A service that saves nothing."""
    with running_server(tmp_path_factory.mktemp("start"), model) as started:
        yield started


def test_digits_are_known_and_the_samples_can_be_tried(tab: Tab, tmp_path: Path) -> None:
    with running_server(tmp_path, SHIPPED_MODEL) as server, tab.visit(f"{server.url}/") as page:
        expect(page.locator("#knows")).to_contain_text("Knows 10 labels, in clips of 1 s.")
        expect(page.locator("#labels-known li")).to_have_text([str(n) for n in range(10)])
        page.get_by_role("button", name="Sixteen digits").click()
        expect(page.locator("td.label")).to_have_text("16 events")
        page.get_by_role("button", name="Show the whole recording").click()
        blocks = page.locator(".lane [role=option]")
        expect(blocks).to_have_text([str(digit) for digit in DIGITS])
        page.get_by_role("button", name="One digit").click()
        expect(page.locator("td.label").nth(1)).to_have_text("7")


def test_another_model_says_what_it_knows_and_has_no_samples(
    tab: Tab, server: RunningServer
) -> None:
    with tab.visit(f"{server.url}/") as page:
        expect(page.locator("#labels-known li")).to_have_text(["high", "low", "mid"])
        expect(page.locator("#samples")).to_be_hidden()
        expect(page.locator("#review-link")).to_be_hidden()  # nothing is saved


def test_an_upload_shows_its_progress_and_can_be_cancelled(tab: Tab, server: RunningServer) -> None:
    big = {"name": "big.wav", "mimeType": "audio/wav", "buffer": bytes(SLOW_FILE_BYTES)}
    small = {"name": "a.wav", "mimeType": "audio/wav", "buffer": wav(tone("low"))}
    with tab.visit(f"{server.url}/") as page:
        expect(page.locator("#knows")).to_be_visible()
        connection = page.context.new_cdp_session(page)
        conditions = {"offline": False, "latency": 0, "downloadThroughput": -1}
        speed = {"uploadThroughput": SLOW_BYTES_PER_SECOND}
        connection.send("Network.enable")
        connection.send("Network.emulateNetworkConditions", conditions | speed)
        page.set_input_files("#files", [big])  # type: ignore[list-item]
        expect(page.locator("#status")).to_have_text("Sending …")
        expect(page.locator("#sent")).to_be_visible()
        page.get_by_role("button", name="Cancel").click()
        expect(page.locator("#status")).to_have_text("Cancelled: 0 of 1 file classified.")
        expect(page.locator("#upload")).to_be_hidden()
        page.set_input_files("#files", [small])  # type: ignore[list-item]
        expect(page.locator("td.label")).to_have_text("low")
        connection.detach()  # the connection is as fast as before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--feedback", "off"), "start it with --feedback URL (EARFUL_FEEDBACK_URL)"),
        ((), "start it with --save-recordings feedback (EARFUL_SAVE_RECORDINGS)"),
        (("--save-recordings", "feedback"), "saves those that are sent with a correct label"),
    ],
)
def test_an_empty_review_says_why(
    tab: Tab, model: Path, tmp_path: Path, options: tuple[str, ...], reason: str
) -> None:
    database = () if "--feedback" in options else ("--feedback", f"sqlite:///{tmp_path}/f.db")
    environment = {"EARFUL_RECORDINGS_DIR": str(tmp_path / "audio")}
    with running_server(tmp_path, model, *options, *database, **environment) as server:
        with tab.visit(f"{server.url}/") as page:
            expect(page.locator("#knows")).to_be_visible()
            expect(page.locator("#review-link")).to_be_visible(
                visible="--save-recordings" in options
            )
        with tab.visit(f"{server.url}/", "review") as page:
            if "--save-recordings" in options:
                page.get_by_role("button", name="Start").click()
            expect(page.locator("#status")).to_contain_text(reason)


def test_docs_show_routes_in_groups_and_the_websocket(tab: Tab, server: RunningServer) -> None:
    with tab.visit(f"{server.url}/", "docs") as page:
        groups = page.locator(".opblock-tag-section h3")
        expect(groups.filter(has_text="Stream")).to_contain_text("over a WebSocket")
        expect(page.get_by_text("ClassifyResponse")).to_be_hidden()
        assert groups.first.inner_text().startswith("Classify")
        page.locator("#operations-Stream-explain_v1_stream_get, [id*=v1_stream]").first.click()
        expect(page.locator(".opblock-description")).to_contain_text("pcm_s16le")
