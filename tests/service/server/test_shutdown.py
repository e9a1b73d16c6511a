"""SIGTERM while clients open a new connection for each request."""

import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from earful.models.registry.shipped import SHIPPED_MODELS
from tests.fixtures.raw_http import HOST, open_socket
from tests.fixtures.server import RunningServer, running_server

pytestmark = pytest.mark.slow

REQUEST = b"GET /livez HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n"


class ConnectingThreads:
    """Threads that open a connection for each request until one is refused."""

    def __init__(self, server: RunningServer, count: int = 6) -> None:
        self._url = server.url
        self.outcomes: Counter[str] = Counter()
        self._threads = [threading.Thread(target=self._run) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)

    def _run(self) -> None:
        outcome = "answered"
        while outcome == "answered":
            outcome = self._request()
            self.outcomes[outcome] += 1

    def _request(self) -> str:
        try:
            connection = open_socket(self._url)
        except ConnectionRefusedError:
            return "refused"
        with connection:
            try:
                connection.sendall(REQUEST)
                received = b""
                while block := connection.recv(4_096):
                    received += block
            except OSError as error:
                return f"{type(error).__name__} after {len(received)} bytes"
        return "answered" if received.endswith(b'"}') else f"cut off: {received!r}"


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("drain_seconds", ["0", "1"])
def test_no_connection_is_reset(tmp_path: Path, workers: int, drain_seconds: str) -> None:
    model = SHIPPED_MODELS["digits-small"]
    settings = {"EARFUL_DRAIN_SECONDS": drain_seconds, "EARFUL_LOG_LEVEL": "warning"}
    with running_server(tmp_path, model, "--workers", workers, **settings) as server:
        threads = ConnectingThreads(server)
        while threads.outcomes["answered"] < 300:
            threads._threads[0].join(0.01)
        server.process.send_signal(signal.SIGTERM)
        threads.join()
        assert server.process.wait(30) == 0
    assert set(threads.outcomes) == {"answered", "refused"}
