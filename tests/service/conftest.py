"""A model trained on three pitches, and clients of a service in this process."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import onnx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from typer.testing import CliRunner, Result

from earful.service.classifier import Classifier
from earful.service.core.settings import Settings
from earful.service.http.dispatch import Dispatcher
from earful.service.server.app import create_app
from earful.training.cli import build_app
from tests.fixtures.built_once import built_once
from tests.fixtures.synthetic_audio import PITCHES_HZ, tone, train_tones, wav


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(model file, run folder)."""
    folder = built_once(tmp_path_factory, "tones", train_tones)
    return folder / "tones.onnx", folder / "run"


@pytest.fixture(scope="session")
def model(trained: tuple[Path, Path]) -> Path:
    return trained[0]


@pytest.fixture(scope="session")
def classifier(model: Path) -> Classifier:
    return Classifier.open(model)


@pytest.fixture(scope="session")
def rejecting_model(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model with a rejection threshold that few predictions reach."""
    graph = onnx.load(model)
    for prop in graph.metadata_props:
        if prop.key == "earful.rejection_threshold":
            prop.value = "0.9999"
        if prop.key == "earful.labels":
            assert "unknown" not in prop.value
    path = tmp_path_factory.mktemp("rejecting") / "rejecting.onnx"
    onnx.save(graph, path)
    return path


class Client:
    """Requests to an app in this process, each awaited on an event loop in another thread."""

    def __init__(self, app: Dispatcher, portal: BlockingPortal, address: str = "127.0.0.1") -> None:
        self.app = app
        self._portal = portal
        self._client = (address, 123)

    def request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        async def send() -> httpx.Response:
            transport = httpx.ASGITransport(
                self.app, raise_app_exceptions=False, client=self._client
            )
            async with httpx.AsyncClient(
                transport=transport, base_url="http://localhost"
            ) as client:
                return await client.request(method, path, **arguments)

        return self._portal.call(send)

    def post(self, path: str, **arguments: Any) -> httpx.Response:
        return self.request("POST", path, **arguments)

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)


@pytest.fixture(scope="module")
def portal() -> Iterator[BlockingPortal]:
    """An event loop in a thread, for one module."""
    with start_blocking_portal() as opened:
        yield opened


@pytest.fixture(scope="session")
def settings(model: Path) -> Settings:
    """Small limits, so that tests can exceed them."""
    return Settings(
        model=model, max_upload_bytes=200_000, max_request_bytes=400_000, max_files=8, max_seconds=5
    )


@pytest.fixture(scope="module")
def open_client(portal: BlockingPortal) -> Iterator[Callable[..., Client]]:
    """``open_client(model=..., ...)`` starts a service with these settings, for the module."""
    with contextlib.ExitStack() as stack:

        def start(**settings: Any) -> Client:
            app = create_app(Settings(**settings))
            stack.enter_context(portal.wrap_async_context_manager(app.service.open()))
            return Client(app, portal)

        yield start


@pytest.fixture(scope="module")
def client(settings: Settings, open_client: Callable[..., Client]) -> Client:
    """The started service."""
    return open_client(**settings.model_dump())


@pytest.fixture
def stopped_client(settings: Settings, portal: BlockingPortal) -> Client:
    """The service before it has started: no model is loaded."""
    return Client(create_app(settings), portal)


@pytest.fixture
def earful() -> Callable[..., Result]:
    """Run a command in this process; the result holds its exception."""

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(build_app(), [str(a) for a in arguments])

    return run


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """A folder with one WAV file per label, named after it."""
    folder = tmp_path / "tones"
    folder.mkdir()
    for label in PITCHES_HZ:
        (folder / f"{label}.wav").write_bytes(wav(tone(label)))
    return folder
