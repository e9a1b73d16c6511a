"""``earful serve`` in its own process, on a real socket."""

import signal
import socket
import subprocess
from pathlib import Path

import httpx
import pytest

from earful.service.core.host_names import AllowedHosts
from earful.service.server.server import with_own_name
from tests.fixtures.server import listening_url, serve, serve_afresh
from tests.fixtures.synthetic_audio import PITCHES_HZ, tone, wav


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_server_answers_an_upload_and_stops_on_a_signal(
    model: Path, number: signal.Signals
) -> None:
    with serve_afresh("--model", model, "--port", 0) as server:
        assert_stops_on_signal(server, number)


def assert_stops_on_signal(server: subprocess.Popen[str], number: signal.Signals) -> None:
    url = listening_url(server)
    # The socket already listens: a connection made before the model is loaded waits for it.
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        assert client.get("/readyz").status_code == 200
        files = [("file", (f"{label}.wav", wav(tone(label)))) for label in PITCHES_HZ]
        results = client.post("/v1/classify", files=files).json()["results"]
        assert [result["label"] for result in results] == list(PITCHES_HZ)
        assert client.post("/v1/classify", content=b"nonsense").status_code == 415
    server.send_signal(number)
    stdout, stderr = server.communicate(timeout=60)
    assert server.returncode == 0
    assert stdout == ""
    assert "Traceback" not in stderr


def startup_error(*arguments: object) -> str:
    """The one-sentence error of a server that does not start."""
    with serve(*arguments) as process:
        try:
            stdout, stderr = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == 2
    assert stdout == ""
    assert stderr.startswith("earful: ")
    assert len(stderr.splitlines()) == 1
    return stderr


def test_a_port_in_use_is_refused_in_one_sentence(model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        message = startup_error("--model", model, "--port", port)
    assert f"port {port}" in message
    assert "in use" in message


def test_an_invalid_host_is_refused_in_one_sentence(model: Path) -> None:
    assert "--host" in startup_error("--model", model, "--host", "a" * 80)


def test_a_missing_model_is_refused_in_one_sentence(tmp_path: Path) -> None:
    assert "no model file" in startup_error("--model", tmp_path / "none.onnx")


def test_a_file_that_is_not_a_model_is_refused_in_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(wav(tone("mid")))
    assert "not a usable ONNX model" in startup_error("--model", path)


def test_environment_sets_the_model_and_bad_values_are_reported(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EARFUL_MODEL", str(model))
    monkeypatch.setenv("EARFUL_MAX_FILES", "many")
    message = startup_error("--port", 0)
    assert "EARFUL_MAX_FILES is 'many'" in message
    monkeypatch.setenv("EARFUL_MODEL", "none.onnx")
    assert "no model file none.onnx" in startup_error("--port", 0)


def test_mistyped_variable_is_reported(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARFUL_MAX_SECOND", "5")
    message = startup_error("--model", model, "--port", 0)
    assert "EARFUL_MAX_SECOND" in message
    assert "EARFUL_MAX_SECONDS" in message


def test_required_but_missing_keys_are_refused(model: Path, tmp_path: Path) -> None:
    empty = tmp_path / "keys"
    empty.write_text("\n \n")
    for name, value in (
        ("EARFUL_API_KEYS_FILE", str(empty)),
        ("EARFUL_API_KEYS_FILE", ""),
        ("EARFUL_API_KEYS", " , "),
        ("EARFUL_API_KEYS", ""),
    ):
        with serve("--model", model, "--port", 0, **{name: value}) as process:
            _, stderr = process.communicate(timeout=30)
        assert process.returncode == 2
        assert len(stderr.splitlines()) == 1
        assert name in stderr


@pytest.mark.parametrize("listed", ["http://earful.test", "earful.test:80", "ear ful", "*.*.test"])
def test_allowed_hosts_that_are_no_names_are_refused(model: Path, listed: str) -> None:
    with serve("--model", model, "--port", 0, EARFUL_ALLOWED_HOSTS=listed) as process:
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 2
    assert len(stderr.splitlines()) == 1
    assert "EARFUL_ALLOWED_HOSTS" in stderr


def test_the_name_to_listen_on_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EARFUL_ALLOWED_HOSTS", "earful.test")
    allowed = AllowedHosts(with_own_name("Box7") or "")
    assert allowed.lists("box7")
    assert allowed.lists("earful.test")
    for address_or_invalid in ("127.0.0.1", "10.0.0.7", "::", "", "a" * 80, "a b"):
        assert with_own_name(address_or_invalid) is None


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"EARFUL_MAX_UPLOAD_BYTES": "500000000"}, ("MAX_UPLOAD_BYTES", "MAX_REQUEST_BYTES")),
        ({"EARFUL_MAX_SPOOL_BYTES": "300000000"}, ("MAX_REQUEST_BYTES", "MAX_SPOOL_BYTES")),
        ({"EARFUL_MAX_BYTES_IN_FLIGHT": "9000000"}, ("MAX_REQUEST_BYTES", "MAX_BYTES_IN_FLIGHT")),
    ],
)
def test_limits_that_contradict_each_other_are_refused(
    model: Path, variables: dict[str, str], named: tuple[str, str]
) -> None:
    with serve("--model", model, "--port", 0, **variables) as process:
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == 2
    assert len(stderr.splitlines()) == 1
    assert all(name in stderr for name in named)
