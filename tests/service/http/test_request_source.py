"""Requests for other hosts, and from pages of other sites, on a real socket."""

import json
from collections.abc import Iterator

import pytest

from earful.models.registry.shipped import SHIPPED_MODELS
from tests.fixtures.raw_http import UPGRADE, RawResponse, send_raw
from tests.fixtures.server import RunningServer, running_server

ALLOWED = "earful.test, *.earful.test,earful_api"
WRITES = [
    "POST /v1/classify",
    "POST /v1/activation-map",
    "POST /v1/jobs",
    "DELETE /v1/jobs/x",
    "POST /v1/feedback",
    "DELETE /v1/feedback/subjects/x",
    "POST /v1/retrain",
    "POST /hf",
    "POST /v2/models/x/infer",
    "POST /predict",
    "POST /setup",
    "POST /webhook",
    "PUT /v1/feedback",
]
PRIVATE_READS = ["GET /v1/review", "GET /v1/jobs/x", "GET /v1/feedback/subjects/x"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("hosts")
    settings = {
        "EARFUL_ALLOWED_HOSTS": ALLOWED,
        "EARFUL_FEEDBACK_URL": f"sqlite:///{folder}/f.db",
        "EARFUL_JOBS_DIR": str(folder / "jobs"),
    }
    with running_server(folder, SHIPPED_MODELS["digits-small"], **settings) as started:
        yield started
    assert "Traceback" not in started.log.read_text()


def send(server: RunningServer, line: str, *headers: str) -> RawResponse:
    """Send a request line and headers, and no others but ``Connection: close``."""
    lines = [f"{line} HTTP/1.1", *headers, "Connection: close", "Content-Length: 0", "", ""]
    return send_raw(server.url, "\r\n".join(lines).encode("latin-1"))


def error_code(response: RawResponse) -> str:
    return str(response.error["code"])


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "10.1.2.3:8000",
        "[::1]",
        "[2001:DB8::7]:8000",
        "localhost",
        "LocalHost:8000",
        "localhost:",
        "app.localhost:80",
        "earful.test",
        "EARFUL.TEST:443",
        "localhost.",
        "earful.test.:8000",
        "a.b.earful.test",
        "earful_api:8000",
    ],
)
def test_addresses_loopback_and_listed_names_are_answered(server: RunningServer, host: str) -> None:
    assert send(server, "GET /livez", f"Host: {host}").status == 200
    assert send(server, "GET /readyz", f"Host:{host} ").status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8000",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "notearful.test",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.1",
    ],
)
def test_other_names_are_misdirected(server: RunningServer, host: str) -> None:
    for line in ("GET /livez", "GET /", "POST /v1/classify", "GET /no-such-route"):
        response = send(server, line, f"Host: {host}")
        assert (response.status, error_code(response)) == (421, "bad_host")
        assert "EARFUL_ALLOWED_HOSTS" in response.error["message"]
    response = send(server, "POST /hf", f"Host: {host}")
    assert response.status == 421
    assert "EARFUL_ALLOWED_HOSTS" in response.error


@pytest.mark.parametrize(
    "headers",
    [
        (),
        ("Host:",),
        ("Host: localhost", "Host: localhost"),
        ("Host: localhost", "hOST: evil.example"),
        ("Host: localhost, evil.example",),
        ("Host: user@localhost",),
        ("Host: localhost:0",),
        ("Host: localhost:99999",),
        ("Host: localhost:8000:1",),
        ("Host: http://localhost",),
        ("Host: localhost/",),
        ("Host: [::1",),
        ("Host: [::1%25lo]",),
        ("Host: [1.2.3.4]x",),
        ("Host: ::1",),
        ("Host: l\xf6calhost",),
        ("Host: local host",),
    ],
)
def test_requests_without_one_valid_host_are_malformed(
    server: RunningServer, headers: tuple[str, ...]
) -> None:
    response = send(server, "GET /livez", *headers)
    assert (response.status, error_code(response)) == (400, "malformed_request")


def test_an_absolute_target_must_name_the_same_host(server: RunningServer) -> None:
    assert send(server, "GET http://localhost/livez", "Host: localhost").status == 200
    for target in ("http://evil.example/livez", "http://localhost:1/livez", "http://u@localhost/"):
        assert send(server, f"GET {target}", "Host: localhost").status == 400
    assert send(server, "GET http://evil.example/livez", "Host: evil.example").status == 421


@pytest.mark.parametrize(
    "headers",
    [
        ("Origin: http://evil.example",),
        ("Origin: null",),
        ("Origin: http://localhost:9000",),
        ("Origin: http://localhost",),
        ("Origin: http://localhost.evil.example:8000",),
        ("Origin: file://localhost:8000",),
        ("Origin: http://localhost:8000", "Origin: http://evil.example"),
        ("Origin: http://evil.example", "Sec-Fetch-Site: same-origin"),
        ("Sec-Fetch-Site: cross-site",),
        ("Sec-Fetch-Site: same-site",),
        ("Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"),
    ],
)
def test_pages_of_other_sites_may_not_write(
    server: RunningServer, headers: tuple[str, ...]
) -> None:
    for line in WRITES + PRIVATE_READS:
        response = send(server, line, "Host: localhost:8000", *headers)
        assert response.status == 403, line
        if "/hf" not in line and "/v2" not in line:
            assert error_code(response) == "bad_origin"
    assert b"access-control" not in response.data.lower()
    assert send(server, "GET /", "Host: localhost:8000", *headers).status == 200


@pytest.mark.parametrize(
    ("host", "origin"),
    [
        ("localhost:8000", "http://localhost:8000"),
        ("LOCALHOST:8000", "http://localhost:8000"),
        ("earful.test", "https://earful.test"),
        ("earful.test:443", "https://earful.test"),
        ("earful.test:80", "http://earful.test"),
        ("[::1]:8000", "http://[::1]:8000"),
        # A proxy that passes on its own Host, for a page of a listed name.
        ("10.0.0.7:8000", "https://earful.test"),
    ],
)
def test_the_services_own_pages_may_write(server: RunningServer, host: str, origin: str) -> None:
    for line in ("POST /v1/classify", "DELETE /v1/jobs/x", "POST /webhook"):
        response = send(server, line, f"Host: {host}", f"Origin: {origin}")
        assert error_code(response) in {"malformed_request", "empty_audio", "job_not_found"}


def stream_handshake(server: RunningServer, *headers: str) -> RawResponse:
    head = "\r\n".join(["GET /v1/stream HTTP/1.1", *headers, ""]).encode()
    return send_raw(server.url, head + UPGRADE + b"\r\n", seconds=0.5)


@pytest.mark.slow
def test_a_streams_handshake_is_checked_too(server: RunningServer) -> None:
    assert stream_handshake(server, "Host: localhost").status == 101
    assert stream_handshake(server, "Host: localhost", "Origin: http://localhost").status == 101
    for headers, expected in {
        ("Host: localhost", "Origin: http://evil.example"): (403, "bad_origin"),
        ("Host: localhost", "Origin: null"): (403, "bad_origin"),
        ("Host: localhost", "Sec-Fetch-Site: cross-site"): (403, "bad_origin"),
        ("Host: evil.example", "Origin: http://evil.example"): (421, "bad_host"),
        ("Host: localhost", "Host: localhost"): (400, "malformed_request"),
        (): (400, "malformed_request"),
    }.items():
        response = stream_handshake(server, *headers)
        assert (response.status, error_code(response)) == expected


@pytest.mark.parametrize(
    "headers",
    [(), ("Content-Type: text/plain",), ("Content-Type: application/x-www-form-urlencoded",)],
)
def test_a_retraining_needs_json_even_without_a_body(
    server: RunningServer, headers: tuple[str, ...]
) -> None:
    response = send(server, "POST /v1/retrain", "Host: localhost", *headers)
    assert (response.status, error_code(response)) == (400, "malformed_request")
    assert "application/json" in response.error["message"]
    json_headers = ("Host: localhost", "Content-Type: application/json; charset=utf-8")
    assert error_code(send(server, "POST /v1/retrain", *json_headers)) == "no_registry"


def test_refusals_are_counted(server: RunningServer) -> None:
    send(server, "GET /", "Host: evil.example")
    text = send(server, "GET /metrics", "Host: 127.0.0.1").data.decode()
    assert 'earful_rejected_total{reason="bad_host"}' in text
    lines = [json.loads(row) for row in server.log.read_text().splitlines() if row[0] == "{"]
    assert any(line.get("status") == 421 for line in lines)
