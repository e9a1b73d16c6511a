"""A server's life: ready when warm, reloads without losing a request, drains on SIGTERM."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import onnx
import pytest
from websockets.sync.client import connect

from earful.models.registry.registry import Registry
from tests.fixtures.polling import look_for_models_often
from tests.fixtures.server import RunningServer, running_server
from tests.fixtures.synthetic_audio import PITCHES_HZ, noise, tone, wav
from tests.fixtures.waiting import wait_until

pytestmark = pytest.mark.slow

CLASSIFY = "/v1/classify"


def other_version(model: Path, path: Path) -> Path:
    """The same network as another file, with other metadata."""
    proto = onnx.load(model)
    for prop in proto.metadata_props:
        if prop.key == "earful.created":
            prop.value = json.dumps("2030-01-01T00:00:00+00:00")
    onnx.save(proto, path)
    return path


class UploadThreads:
    """Threads that upload tones repeatedly and keep the responses."""

    def __init__(
        self,
        server: RunningServer,
        count: int = 3,
        headers: dict[str, str] | None = None,
        pause_seconds: float = 0.01,
    ) -> None:
        self._server, self._stop, self._headers = server, threading.Event(), headers or {}
        self._pause_seconds = pause_seconds
        self.answers: list[tuple[str, httpx.Response]] = []
        self._threads = [
            threading.Thread(target=self._upload_repeatedly, args=(n,)) for n in range(count)
        ]

    def __enter__(self) -> "UploadThreads":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _upload_repeatedly(self, number: int) -> None:
        label = list(PITCHES_HZ)[number % 3]
        content = wav(tone(label))
        with self._server.client() as client:
            while not self._stop.wait(self._pause_seconds):
                answer = client.post(CLASSIFY, content=content, headers=self._headers)
                self.answers.append((label, answer))

    def releases(self) -> list[str]:
        return [answer.json()["model"]["release"] for _, answer in self.answers]

    def versions(self) -> list[str]:
        return [answer.json()["model"]["version"] for _, answer in self.answers]


def models_loaded(server: RunningServer) -> int:
    """How often a worker has begun to serve a model: at its start, and after each change."""
    return server.log.read_text().count('"model_serving"')


@pytest.mark.parametrize("workers", [1, 2])
def test_a_replaced_file_is_reloaded_without_losing_a_request(
    model: Path, tmp_path: Path, workers: int
) -> None:
    served = Path(shutil.copy(model, tmp_path / "served.onnx"))
    new = other_version(model, tmp_path / "new.onnx")
    before = look_for_models_often if workers == 1 else None
    with running_server(tmp_path, served, "--workers", workers, before=before) as server:
        with UploadThreads(server) as upload_threads, server.client() as client:
            wait_until(lambda: len(upload_threads.answers) > 20)
            wait_until(lambda: models_loaded(server) >= workers)
            new.replace(served)
            wait_until(lambda: len(set(upload_threads.versions())) == 2)
            wait_until(lambda: models_loaded(server) >= 2 * workers)
            seen = len(upload_threads.answers)
            wait_until(lambda: len(upload_threads.answers) > seen + 20)
        assert {answer.status_code for _, answer in upload_threads.answers} == {200}
        for label, answer in upload_threads.answers:
            assert answer.json()["results"][0]["label"] == label
        assert len(set(upload_threads.versions()[-3 * workers :])) == 1
        with server.client() as client:
            assert client.get("/readyz").json()["model"]["created"].startswith("2030")
            metrics = client.get("/metrics").text
            info = re.findall(r"^earful_model_info{.*} ([\d.]+)$", metrics, re.MULTILINE)
            assert sorted(info) == ["0.0", "1.0"]


def test_alias_change_is_followed_without_losing_a_request(model: Path, tmp_path: Path) -> None:
    registry = Registry(str(tmp_path / "registry"))
    registry.register("tones", {"model.onnx": model.read_bytes()})
    new = other_version(model, tmp_path / "new.onnx")
    registry.register("tones", {"model.onnx": new.read_bytes()})
    name = Path("tones")
    with running_server(tmp_path, name, "--registry", registry.root, "--workers", 2) as server:
        with UploadThreads(server) as upload_threads:
            wait_until(lambda: len(upload_threads.answers) > 20)
            wait_until(lambda: models_loaded(server) >= 2)
            registry.promote("tones", 2)
            wait_until(lambda: models_loaded(server) >= 4)
            wait_until(lambda: upload_threads.releases()[-20:] == ["2"] * 20)
            registry.rollback("tones")
            wait_until(lambda: models_loaded(server) >= 6)
            wait_until(lambda: upload_threads.releases()[-20:] == ["1"] * 20)
        assert {answer.status_code for _, answer in upload_threads.answers} == {200}
        for label, answer in upload_threads.answers:
            assert answer.json()["results"][0]["label"] == label
        assert set(upload_threads.releases()) == {"1", "2"}
        (tmp_path / "registry" / "tones" / "aliases.json").write_text("{")
        with server.client() as client:
            wait_until(lambda: "damaged" in client.get("/readyz").json().get("reload_failed", ""))
            answer = client.post(CLASSIFY, content=wav(tone("mid"))).json()
            assert (answer["model"]["name"], answer["model"]["release"]) == ("tones", "1")


def test_bad_model_file_keeps_the_old_model_and_is_reported(model: Path, tmp_path: Path) -> None:
    served = Path(shutil.copy(model, tmp_path / "served.onnx"))
    with (
        running_server(tmp_path, served, before=look_for_models_often) as server,
        server.client() as client,
    ):
        before = client.get("/readyz").json()["model"]
        bad = tmp_path / "bad.onnx"
        bad.write_bytes(model.read_bytes()[:-500])
        bad.replace(served)
        wait_until(lambda: "reload_failed" in client.get("/readyz").json())
        ready = client.get("/readyz").json()
        assert ready["model"] == before
        assert "served.onnx" in ready["reload_failed"]
        answer = client.post(CLASSIFY, content=wav(tone("mid")))
        assert answer.json()["model"] == before
        assert 'earful_model_reloads_total{outcome="failed"} 1.0' in client.get("/metrics").text
        served.unlink()
        wait_until(lambda: "no longer" in client.get("/readyz").json()["reload_failed"])
        assert client.post(CLASSIFY, content=wav(tone("mid"))).status_code == 200
        shutil.copy(model, tmp_path / "good.onnx")
        (tmp_path / "good.onnx").replace(served)
        wait_until(lambda: "reload_failed" not in client.get("/readyz").json())
    events = [json.loads(line) for line in server.log.read_text().splitlines() if line[0] == "{"]
    assert "model_reload_failed" in {event["event"] for event in events}


@pytest.mark.parametrize("workers", [1, 2])
def test_sigterm_drains_open_requests_and_exits(model: Path, tmp_path: Path, workers: int) -> None:
    with (
        running_server(tmp_path, model, "--workers", workers, EARFUL_DRAIN_SECONDS="1.5") as server,
        server.client() as client,
        ThreadPoolExecutor() as pool,
    ):
        long = wav(noise(55, 0.1))
        uploads = [pool.submit(client.post, CLASSIFY, content=long) for _ in range(4)]
        time.sleep(0.2)
        server.process.send_signal(signal.SIGTERM)
        wait_until(lambda: client.get("/readyz").status_code == 503, seconds=1.4)
        assert client.get("/readyz").json()["error"]["code"] == "draining"
        assert client.get("/livez").status_code == 200
        assert client.post(CLASSIFY, content=wav(tone("low"))).status_code == 200
        assert [upload.result().status_code for upload in uploads] == [200] * 4
        assert server.process.wait(30) == 0
    assert "Traceback" not in server.log.read_text()


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_stops_it_with_a_line_and_exit_code_0(
    model: Path, tmp_path: Path, workers: int
) -> None:
    quick = {"EARFUL_DRAIN_SECONDS": "0"}
    with running_server(tmp_path, model, "--workers", workers, **quick) as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(60) == 0
    assert server.log.read_text().endswith("stopped serving\n")


def test_metrics_sum_over_all_workers(model: Path, tmp_path: Path) -> None:
    with running_server(tmp_path, model, "--workers", 2) as server:
        for _ in range(20):
            with server.client() as client:  # one connection each, so that both workers get some
                client.post(CLASSIFY, content=wav(tone("mid")))
                client.post(CLASSIFY, content=b"nonsense")
        with server.client() as client:
            text = client.get("/metrics").text
    assert 'earful_requests_total{code="200",route="/v1/classify"} 20.0' in text
    assert 'earful_requests_total{code="415",route="/v1/classify"} 20.0' in text
    assert 'earful_rejected_total{reason="unsupported_format"} 20.0' in text
    assert 'earful_model_info{architecture="cnn",name="tones"' in text
    for name in ("queue_seconds", "inference_seconds", "batch_windows"):
        counted = re.search(rf"^earful_{name}_count ([\d.]+)$", text, re.MULTILINE)
        assert counted is not None
        assert float(counted[1]) >= 20
    assert "earful_queue_depth 0.0" in text


def test_logs_are_json_with_the_requests_id_and_no_key(model: Path, tmp_path: Path) -> None:
    key = "s" * 24
    keys = f"classify:{key}"
    with running_server(tmp_path, model, EARFUL_API_KEYS=keys) as server, server.client() as client:
        headers = {"authorization": f"Bearer {key}", "x-request-id": "mine-1"}
        answer = client.post(CLASSIFY, content=wav(tone("mid")), headers=headers)
        assert answer.headers["x-request-id"] == "mine-1"
        odd = client.post(CLASSIFY, content=b"", headers={"x-request-id": 'a"b{}'})
        assert odd.status_code == 401
        assert odd.headers["x-request-id"] != 'a"b{}'
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line[0] == "{"]
    [mine] = [line for line in lines if line.get("request_id") == "mine-1"]
    assert (mine["event"], mine["path"], mine["status"]) == ("request", CLASSIFY, 200)
    assert mine["files"] == 1
    assert mine["seconds"] > 0
    assert key not in server.log.read_text()


def test_named_pipe_in_place_of_the_model_does_not_block(model: Path, tmp_path: Path) -> None:
    served = Path(shutil.copy(model, tmp_path / "served.onnx"))
    with (
        running_server(tmp_path, served, before=look_for_models_often) as server,
        server.client() as client,
    ):
        os.mkfifo(tmp_path / "pipe")
        (tmp_path / "pipe").replace(served)
        wait_until(
            lambda: (
                "no longer a regular file" in client.get("/readyz").json().get("reload_failed", "")
            )
        )
        new = other_version(model, tmp_path / "new.onnx")
        new.replace(served)
        wait_until(lambda: client.get("/readyz").json()["model"]["created"].startswith("2030"))


def test_gauges_of_a_dead_worker_are_dropped(model: Path, tmp_path: Path) -> None:
    with running_server(tmp_path, model, "--workers", 2) as server, server.client() as client:

        def open_streams() -> set[str]:
            text = client.get("/metrics").text
            return set(re.findall(r"^earful_streams ([\d.]+)$", text, re.MULTILINE))

        with connect(server.url.replace("http", "ws") + "/v1/stream", proxy=None) as socket:
            socket.send('{"sample_rate_hz": 8000}')
            socket.recv()
            wait_until(lambda: open_streams() == {"1.0"})
            for pid in children(server.process.pid):
                os.kill(pid, signal.SIGKILL)
            wait_until(lambda: is_ready(client) and open_streams() == {"0.0"})


def children(pid: int) -> list[int]:
    """Worker processes of a server, without multiprocessing's resource tracker."""
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(p) for p in pids if b"spawn_main" in Path(f"/proc/{p}/cmdline").read_bytes()]


def is_ready(client: httpx.Client) -> bool:
    try:
        return client.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def test_a_worker_that_cannot_start_does_not_end_the_others(model: Path, tmp_path: Path) -> None:
    served = Path(shutil.copy(model, tmp_path / "served.onnx"))
    with running_server(tmp_path, served, "--workers", 2) as server:
        wait_until(lambda: server.log.read_text().count('"model_serving"') == 2)
        served.write_bytes(b"half a model")
        victim = children(server.process.pid)[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: "Application startup failed" in server.log.read_text())
        with server.client() as client:
            assert client.post("/v1/classify", content=wav(tone("mid"))).status_code == 200
        Path(shutil.copy(model, tmp_path / "whole.onnx")).replace(served)
        wait_until(lambda: len(set(children(server.process.pid)) - {victim}) == 2)
    assert server.process.returncode == 0
    assert "Traceback" not in server.log.read_text()


def test_a_service_that_cannot_start_ends_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    script = 'cd gone && rmdir ../gone && exec "$0" -m earful.training.cli serve --port 0'
    environment = {name: text for name, text in os.environ.items() if "EARFUL" not in name}
    ended = subprocess.run(
        ["sh", "-c", script, sys.executable],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    assert "the working folder is gone" in ended.stderr
    assert "the service did not start" in ended.stderr
    assert "Traceback" not in ended.stderr
