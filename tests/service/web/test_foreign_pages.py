"""Pages of other sites in a real browser: what they send is refused, by each way there is."""

import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from earful.models.registry.registry import Registry
from earful.models.registry.shipped import SHIPPED_MODELS
from tests.fixtures.server import RunningServer, running_server

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium (Debian: apt install chromium)"),
]
# Over plain HTTP and not on localhost, so that the browser sends no Sec-Fetch-Site.
SERVICE_NAME, FOREIGN_NAME, REBOUND_NAME = "earful.test", "evil.test", "rebound.test"
# Requests that a page may send without asking first, and a WebSocket.
ATTACK = """async (url) => {
  const send = (path, body, type) => fetch(url + path, {
    method: "POST", mode: "no-cors", body, headers: type ? {"Content-Type": type} : {}});
  await send("/v1/retrain");
  await send("/v1/retrain", "{}", "text/plain");
  await send("/v1/classify", new Uint8Array(9));
  await send("/v1/jobs", new Uint8Array(9));
  await send("/webhook", '{"action": "ANNOTATION_CREATED"}', "text/plain");
  const form = new FormData();
  form.append("label", "1"); form.append("annotator", "evil");
  form.append("file", new Blob([new Uint8Array(9)]), "a.wav");
  await fetch(url + "/v1/feedback", {method: "POST", mode: "no-cors", body: form});
  return await new Promise((resolve) => {
    const socket = new WebSocket(url.replace("http", "ws") + "/v1/stream");
    socket.onopen = () => resolve("open");
    socket.onerror = () => resolve("refused");
  });
}"""
ATTACKED = ["/v1/retrain"] * 2 + ["/v1/classify", "/v1/jobs", "/webhook", "/v1/feedback"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A service that a retraining could be started in."""
    folder = tmp_path_factory.mktemp("foreign")
    registry = Registry(str(folder / "registry"))
    registry.register("digits", {"model.onnx": SHIPPED_MODELS["digits-small"].read_bytes()})
    settings = {
        "EARFUL_ALLOWED_HOSTS": SERVICE_NAME,
        "EARFUL_FEEDBACK_URL": f"sqlite:///{folder}/f.db",
        "EARFUL_JOBS_DIR": str(folder / "jobs"),
        "EARFUL_RETRAIN_DIR": str(folder / "retrain"),
    }
    arguments = ("--registry", registry.root)
    with running_server(folder, Path("digits"), *arguments, **settings) as started:
        yield started


class _EmptyPage(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<title>another site</title>")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's name
        """Log nothing."""


@pytest.fixture(scope="module")
def foreign_port() -> Iterator[int]:
    """The port of another site's server."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _EmptyPage) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        yield other.server_port
        other.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def page() -> Iterator[Page]:
    """A page of a browser to which every name is this machine."""
    resolve = "--host-resolver-rules=MAP * 127.0.0.1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", resolve]
        )
        yield browser.new_page()
        browser.close()


def port_of(server: RunningServer) -> str:
    return server.url.rpartition(":")[2]


def logged(server: RunningServer) -> list[dict[str, Any]]:
    """The requests that were logged."""
    lines = [json.loads(row) for row in server.log.read_text().splitlines() if row[0] == "{"]
    return [line for line in lines if line["event"] == "request"]


@pytest.mark.parametrize("service_name", [SERVICE_NAME, "localhost", "127.0.0.1"])
def test_a_foreign_page_can_write_nothing(
    server: RunningServer, foreign_port: int, page: Page, service_name: str
) -> None:
    n_before = len(logged(server))
    page.goto(f"http://{FOREIGN_NAME}:{foreign_port}/")
    assert page.evaluate(ATTACK, f"http://{service_name}:{port_of(server)}") == "refused"
    posts = [line for line in logged(server)[n_before:] if line["method"] == "POST"]
    assert len(posts) == len(ATTACKED)
    assert {line["status"] for line in posts} == {403}
    with server.client() as client:
        assert client.get("/v1/retrain").json()["state"] == "idle"
        assert client.get("/v1/feedback/status").json().get("annotations", 0) == 0


def test_a_foreign_page_cannot_read(server: RunningServer, foreign_port: int, page: Page) -> None:
    page.goto(f"http://{FOREIGN_NAME}:{foreign_port}/")
    read = "url => fetch(url).then(r => r.text()).catch(() => 'not readable')"
    url = f"http://{SERVICE_NAME}:{port_of(server)}/v1/feedback/status"
    assert page.evaluate(read, url) == "not readable"


def test_a_rebound_name_is_not_answered(server: RunningServer, page: Page) -> None:
    response = page.goto(f"http://{REBOUND_NAME}:{port_of(server)}/")
    assert response is not None
    assert response.status == 421
    assert "EARFUL_ALLOWED_HOSTS" in response.text()


def test_the_services_own_page_still_writes(server: RunningServer, page: Page) -> None:
    page.goto(f"http://{SERVICE_NAME}:{port_of(server)}/")
    expect(page.locator("body")).to_contain_text("digits")
    outcome = page.evaluate(
        """async () => {
          const posted = await fetch("/v1/classify", {method: "POST", body: new Uint8Array(9)});
          const opened = await new Promise((resolve) => {
            const socket = new WebSocket(location.href.replace("http", "ws") + "v1/stream");
            socket.onopen = () => resolve("open");
            socket.onerror = () => resolve("refused");
          });
          return [posted.status, opened];
        }"""
    )
    assert outcome == [415, "open"]
