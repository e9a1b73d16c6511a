"""Clients that send too much, too slowly or too often, on a real socket."""

import os
import re
import resource
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from earful.models.registry.shipped import SHIPPED_MODEL
from tests.fixtures.raw_http import (
    HOST,
    UPGRADE,
    RawResponse,
    exchange,
    open_socket,
    resident_bytes,
    send_raw,
)
from tests.fixtures.server import RunningServer, running_server
from tests.fixtures.synthetic_audio import tone, wav

pytestmark = pytest.mark.slow

GET = b"GET /livez HTTP/1.1\r\n" + HOST
CHUNKED = b"POST /v1/classify HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
MODEL = SHIPPED_MODEL.with_name("digits-small.onnx")
MEGABYTE = 1_000_000
MAX_CONNECTIONS = 24
LIMITS = {
    "EARFUL_HEADER_SECONDS": "1.5",
    "EARFUL_KEEP_ALIVE_SECONDS": "1",
    "EARFUL_WRITE_STALL_SECONDS": "1.5",
    "EARFUL_DEADLINE_SECONDS": "2",
    "EARFUL_MAX_UPLOAD_BYTES": "4000000",
    "EARFUL_MAX_REQUEST_BYTES": "8000000",
    "EARFUL_MAX_CONNECTIONS": str(MAX_CONNECTIONS),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with running_server(tmp_path_factory.mktemp("limits"), MODEL, **LIMITS) as started:
        yield started
    assert "Traceback" not in started.log.read_text()


def assert_serves(server: RunningServer) -> None:
    with server.client() as client:
        assert client.post("/v1/classify", content=wav(tone("mid"))).status_code == 200


def closed_connections(server: RunningServer, reason: str) -> float:
    with server.client() as client:
        text = client.get("/metrics").text
    found = re.search(rf'^earful_connections_closed_total{{reason="{reason}"}} (.*)$', text, re.M)
    return float(found[1]) if found else 0.0


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(GET + b"X: " + b"a" * 20 * MEGABYTE, id="an endless header"),
        pytest.param(GET + b"X: a\r\n" * 4 * MEGABYTE, id="endless headers"),
        pytest.param(b"GET /" + b"a" * MEGABYTE, id="an endless target"),
        pytest.param(b"\r\n" * MEGABYTE, id="endless empty lines"),
        pytest.param(GET + b"X: " + b"a" * 33_000 + b"\r\n\r\n", id="a large header"),
        pytest.param(GET + b"X: a\r\n" * 101 + b"\r\n", id="many headers"),
        pytest.param(b"GET /?" + b"a" * 9_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n", id="a target"),
        pytest.param(GET + UPGRADE + b"X: " + b"a" * 9_000 + b"\r\n\r\n", id="of a WebSocket"),
        pytest.param(CHUNKED + b"1\r\na\r\n0\r\n" + b"X: a\r\n" * MEGABYTE, id="trailers"),
        pytest.param(CHUNKED + b"1\r\na\r\n0\r\nX: " + b"a" * MEGABYTE, id="an endless trailer"),
        pytest.param(CHUNKED + b"1;x=" + b"a" * MEGABYTE, id="an endless chunk extension"),
    ],
)
def test_endless_and_large_headers_are_refused_at_once(
    server: RunningServer, request_bytes: bytes
) -> None:
    before = resident_bytes(server.process.pid)
    response = send_raw(server.url, request_bytes)
    assert response.status == 431
    assert response.error["code"] == "headers_too_large"
    assert response.ended != "open"
    assert resident_bytes(server.process.pid) - before < 20 * MEGABYTE
    assert_serves(server)


def test_headers_up_to_the_limit_are_accepted(server: RunningServer) -> None:
    headers = b"Connection: close\r\n" + b"X: a\r\n" * 90 + b"Y: " + b"a" * 30_000 + b"\r\n"
    assert send_raw(server.url, GET + headers + b"\r\n").status == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"GET / HTTP/9.9\r\n\r\n",
        GET + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"POST /v1/stream HTTP/1.1\r\n" + HOST + UPGRADE + b"\r\n",
        b"GET /v1/stream HTTP/1.1\r\n" + HOST + UPGRADE + b"Content-Length: 5\r\n\r\nabcde",
        CHUNKED + b"not a length\r\n",
    ],
)
def test_what_is_not_http_gets_a_json_error_and_is_closed(
    server: RunningServer, request_bytes: bytes
) -> None:
    response = send_raw(server.url, request_bytes)
    assert response.status == 400
    assert response.error["code"] == "malformed_request"
    assert response.ended == "closed"


def test_trailers_are_not_headers(server: RunningServer) -> None:
    trailer = b"1\r\na\r\n0\r\nX-Request-ID: from-a-trailer\r\n\r\n"
    request = CHUNKED.replace(HOST, HOST + b"Connection: close\r\n") + trailer
    assert send_raw(server.url, request).status == 415


def test_a_head_must_be_complete_in_time(server: RunningServer) -> None:
    with open_socket(server.url) as connection:
        connection.sendall(GET)
        started = time.monotonic()
        response = exchange(connection, b"", seconds=0.2)
        while response.ended == "open" and not response.data:
            response = exchange(connection, b"X: a\r\n", seconds=0.2)  # a header now and then
            assert time.monotonic() - started < 30
        assert response.status == 408
        assert response.error["code"] == "too_slow"
    assert closed_connections(server, "slow_headers") >= 1


def test_a_pause_of_the_server_is_not_blamed_on_its_clients(server: RunningServer) -> None:
    with open_socket(server.url) as connection:
        connection.sendall(GET)
        exchange(connection, b"X: a\r\n", seconds=0.2)
        os.kill(server.process.pid, signal.SIGSTOP)
        time.sleep(3)  # the pause itself: twice the limit
        os.kill(server.process.pid, signal.SIGCONT)
        exchange(connection, b"X: a\r\n", seconds=0.2)  # a sweep is overdue
        assert exchange(connection, b"\r\n", seconds=30).status == 200


@pytest.mark.parametrize(
    "request_bytes",
    [
        pytest.param(b"", id="nothing is sent"),
        pytest.param(GET + b"\r\n", id="no further request"),
        pytest.param(GET + b"\r\n\r\n", id="an empty line after a request"),
        pytest.param(GET + b"Content-Length: 9\r\n\r\n", id="a body that no route reads"),
    ],
)
def test_silent_connections_are_closed(server: RunningServer, request_bytes: bytes) -> None:
    response = send_raw(server.url, request_bytes, seconds=30)
    assert response.ended == "closed"
    assert response.statuses == ([200] if request_bytes else [])


def test_a_body_in_drops_that_no_route_reads_ends(server: RunningServer) -> None:
    with open_socket(server.url) as connection:
        connection.sendall(GET + b"Content-Length: 1000000\r\n\r\n")
        started, response = time.monotonic(), exchange(connection, b"a", seconds=0.2)
        while response.ended == "open":
            response = exchange(connection, b"a", seconds=0.2)
            assert time.monotonic() - started < 30


def test_a_client_that_does_not_read_is_disconnected(server: RunningServer) -> None:
    before = closed_connections(server, "not_reading")
    # More than the system holds for the client.
    page = b"GET /static-offline-docs/swagger-ui-bundle.js HTTP/1.1\r\n" + HOST + b"\r\n"
    with open_socket(server.url) as connection:
        connection.sendall(page * 20)
        end = time.monotonic() + 30
        while closed_connections(server, "not_reading") == before:
            assert time.monotonic() < end
            time.sleep(0.1)
    assert_serves(server)


def test_requests_that_wait_on_a_connection_are_bounded(server: RunningServer) -> None:
    response = send_raw(server.url, (GET + b"\r\n") * 1_000)
    assert set(response.statuses) == {200}
    assert len(response.statuses) < 50
    assert response.ended != "open"


def test_an_error_behind_a_request_does_not_take_its_place(server: RunningServer) -> None:
    response = send_raw(server.url, GET + b"\r\n" + b"nonsense\r\n\r\n")
    assert response.statuses == [200]
    assert response.ended == "closed"


def test_no_stream_is_opened_behind_a_request_without_a_response(server: RunningServer) -> None:
    stream = b"GET /v1/stream HTTP/1.1\r\n" + HOST + UPGRADE + b"\r\n"
    response = send_raw(server.url, GET + b"\r\n" + stream)
    assert response.statuses == [200]
    assert response.ended == "closed"


def test_idle_connections_are_closed_for_new_ones(server: RunningServer) -> None:
    before = closed_connections(server, "idle")
    with ExitStack() as stack:
        for _ in range(4 * MAX_CONNECTIONS):
            stack.enter_context(open_socket(server.url))
        assert_serves(server)
    assert closed_connections(server, "idle") > before


def test_uploads_that_have_stopped_make_room_for_others(tmp_path: Path) -> None:
    # The deadline of the uploads would make room too, but after the test has failed.
    limits = LIMITS | {"EARFUL_DEADLINE_SECONDS": "250"}
    with running_server(tmp_path, MODEL, **limits) as server, ExitStack() as stack:
        begin_uploads(server, stack)
        end = time.monotonic() + 60
        while send_raw(server.url, GET + b"Connection: close\r\n\r\n").status == 503:
            assert time.monotonic() < end


def begin_uploads(server: RunningServer, stack: ExitStack) -> None:
    """Take all places with requests whose bodies do not come."""
    upload = b"POST /v1/classify HTTP/1.1\r\n" + HOST + b"Content-Length: 9\r\n"
    for _ in range(MAX_CONNECTIONS):
        connection = stack.enter_context(open_socket(server.url))
        connection.sendall(upload + b"Expect: 100-continue\r\n\r\n")
        assert connection.recv(99).startswith(b"HTTP/1.1 100")  # its body is awaited


def test_no_route_takes_an_endless_or_a_slow_body(server: RunningServer) -> None:
    with server.client() as client:
        paths = client.get("/openapi.json").json()["paths"]
    routes = [(m.upper(), p) for p, methods in paths.items() for m in methods if m != "get"]
    assert ("POST", "/v1/retrain") in routes
    with ThreadPoolExecutor(len(routes)) as pool:
        for send in (send_endless_body, send_slow_body):
            answers = pool.map(lambda route, send=send: send(server.url, *route), routes)
            for route, answer in zip(routes, answers, strict=True):
                assert answer.ended != "open", (send.__name__, route)
                assert not answer.data or 400 <= answer.status < 504, (send.__name__, route)
    assert_serves(server)


def send_endless_body(url: str, method: str, path: str) -> RawResponse:
    head = f"{method} {path} HTTP/1.1\r\n".encode() + HOST
    head += b"Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    with open_socket(url) as connection:
        response = exchange(connection, head, seconds=0.1)
        for _ in range(100):
            if response.ended != "open":
                break
            response = exchange(connection, chunk, seconds=0.1)
        return response


def send_slow_body(url: str, method: str, path: str) -> RawResponse:
    head = f"{method} {path} HTTP/1.1\r\n".encode() + HOST
    head += b"Content-Type: application/json\r\nContent-Length: 999\r\n\r\n{"
    with open_socket(url) as connection:
        response = exchange(connection, head, seconds=0.2)
        end = time.monotonic() + 30
        while response.ended == "open" and time.monotonic() < end:
            response = exchange(connection, b" ", seconds=0.2)
        return response


def test_running_out_of_files_is_reported_and_passes(tmp_path: Path) -> None:
    with running_server(tmp_path, MODEL) as server:
        pid = server.process.pid
        n_files = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        _, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (n_files + 8, hard))
        with ExitStack() as stack:
            for _ in range(30):
                stack.enter_context(open_socket(server.url))
            end = time.monotonic() + 30
            while '"file_limit_reached"' not in server.log.read_text():
                assert time.monotonic() < end
                time.sleep(0.1)
        assert_serves(server)
        with server.client() as client:
            assert "earful_file_limit_reached_total 0.0" not in client.get("/metrics").text
    assert "Traceback" not in server.log.read_text()


def test_more_connections_than_allowed_get_503(server: RunningServer) -> None:
    with ExitStack() as stack:
        begin_uploads(server, stack)
        response = send_raw(server.url, b"")
        assert response.status == 503
        assert response.error["code"] == "too_many_connections"
    assert_serves(server)
    assert closed_connections(server, "too_many") >= 1
