"""Jobs with real server processes: the whole life, kills, restarts, several workers."""

import os
import resource
import shutil
import signal
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, text

from earful.service.feedback.database import open_database
from earful.service.feedback.database_url import DatabaseAddress
from earful.service.feedback.tables import timestamp
from earful.service.jobs.tables import jobs_table
from tests.fixtures.server import RunningServer, running_server
from tests.fixtures.synthetic_audio import tone, wav
from tests.fixtures.waiting import open_files, wait_until
from tests.service.jobs.conftest import (
    JOBS,
    submit,
    uploads,
    wait_for_events,
    wait_for_job,
)
from tests.service.server.test_lifecycle import (
    UploadThreads,
    children,
    is_ready,
    other_version,
)

pytestmark = pytest.mark.slow

SHORT = wav(tone("mid"))
LONG_AGO = datetime(2026, 1, 1, tzinfo=UTC)


def environment(tmp_path: Path, **more: str) -> dict[str, str]:
    return {"EARFUL_JOBS_DIR": str(tmp_path / "jobs"), "EARFUL_FEEDBACK_URL": "off"} | more


def busy(server: RunningServer) -> UploadThreads:
    """While short uploads keep coming, a job goes on slowly: tests can see it run."""
    return UploadThreads(server, count=1, pause_seconds=0)


def let_leases_lapse(root: Path) -> None:
    """At once; by themselves, as of a service that is killed, they do so in ten seconds."""
    database = open_database(DatabaseAddress.parse(f"sqlite:///{root}/jobs.db"))
    with database.write_transaction() as connection:
        connection.execute(jobs_table.update().values(lease_until=timestamp(LONG_AGO)))
    database.close()


def events_of(job: dict[str, Any]) -> list[list[dict[str, Any]]]:
    return [result["events"] for result in job["results"]]


def test_whole_life_of_a_job(
    model: Path, tmp_path: Path, recording: bytes, expected_events: list[dict[str, Any]]
) -> None:
    with (
        running_server(tmp_path, model, **environment(tmp_path)) as server,
        server.client() as client,
    ):
        with busy(server):
            path = submit(client, SHORT, b"not audio", recording)
            running = wait_until(lambda: with_events(client.get(path).json(), 2))
        job = wait_for_job(client, path, "done", "failed")
        metrics = client.get("/metrics").text
        version = client.get("/readyz").json()["model"]
        assert client.request("DELETE", path).status_code == 204
        assert client.get(path).json()["error"]["code"] == "job_not_found"
        assert client.request("DELETE", path).status_code == 404
    assert running["progress"]["seconds"] == pytest.approx(1200.4)
    assert 0 < running["progress"]["seconds_done"] < 1200
    assert running["expires"] < job["expires"]
    assert job["progress"] == {
        "seconds_done": 1200.4,
        "seconds": 1200.4,
        "files_done": 3,
        "files": 3,
    }
    short, refused, long = job["results"]
    assert (short["filename"], short["label"], short["seconds"]) == ("0.wav", "mid", 0.4)
    assert [event["label"] for event in short["events"]] == ["mid"]
    assert refused["error"]["code"] == "unsupported_format"
    assert (refused["status"], refused["events"]) == ("failed", [])
    assert "label" not in long
    assert long["events"] == expected_events
    assert long["model"] == version
    partial = running["results"][2]["events"]
    assert partial == expected_events[: len(partial)]
    assert uploads(tmp_path / "jobs") == []
    assert 'earful_jobs_finished_total{outcome="done"} 1.0' in metrics
    assert "earful_jobs_running 0.0" in metrics
    log = server.log.read_text()
    assert "Traceback" not in log
    assert job["id"] not in log


def test_deleting_stops_a_waiting_and_a_running_job(
    model: Path, tmp_path: Path, recording: bytes
) -> None:
    with (
        running_server(tmp_path, model, **environment(tmp_path)) as server,
        server.client() as client,
    ):
        with busy(server):
            running = submit(client, *[recording] * 3)
            waiting = submit(client, recording)
            wait_for_events(client, running)
            assert client.get(waiting).json()["status"] == "waiting"
            for path in (waiting, running):
                assert client.request("DELETE", path).status_code == 204
                assert client.get(path).status_code == 404
        assert uploads(tmp_path / "jobs") == []
        wait_for_job(client, submit(client, SHORT), "done")
        metrics = client.get("/metrics").text
    assert 'earful_jobs_finished_total{outcome="stopped"} 2.0' in metrics
    assert 'earful_jobs_finished_total{outcome="done"} 1.0' in metrics


def test_job_continues_after_the_service_is_killed(
    model: Path, tmp_path: Path, recording: bytes, expected_events: list[dict[str, Any]]
) -> None:
    settings = environment(tmp_path)
    with running_server(tmp_path, model, **settings) as server, server.client() as client:
        with busy(server):
            path = submit(client, SHORT, recording)
            before = wait_until(lambda: with_events(client.get(path).json(), 1))
        server.process.kill()
        server.process.wait(30)
    # The first file is done and its upload is gone: it cannot be run again.
    assert uploads(tmp_path / "jobs") == [(name := path.rpartition("/")[2]), f"{name}/1"]
    with running_server(tmp_path, model, **settings) as server, server.client() as client:
        job = wait_for_job(client, path, "done", "failed")
    assert job["results"][0] == before["results"][0]
    assert job["results"][1]["events"] == expected_events
    assert uploads(tmp_path / "jobs") == []


def with_events(job: dict[str, Any], position: int) -> dict[str, Any] | None:
    """The running job, if the file at this position has events."""
    return job if job["results"][position]["events"] else None


def test_sigterm_stops_a_job_at_once_and_the_next_start_continues(
    model: Path, tmp_path: Path, recording: bytes, expected_events: list[dict[str, Any]]
) -> None:
    settings = environment(tmp_path, EARFUL_DRAIN_SECONDS="1")
    with running_server(tmp_path, model, **settings) as server, server.client() as client:
        with busy(server):
            # Several, since a machine that is busy may not ask before the first is done.
            path = submit(client, *[recording] * 3)
            wait_for_events(client, path)
            server.process.send_signal(signal.SIGTERM)
            wait_for_job(client, path, "waiting")
        client.close()
        assert server.process.wait(30) == 0
    assert "Traceback" not in server.log.read_text()
    with running_server(tmp_path, model, **settings) as server, server.client() as client:
        job = wait_for_job(client, path, "done", "failed")
    assert events_of(job) == [expected_events] * 3


def test_another_worker_takes_up_the_job_of_a_killed_one(
    model: Path, tmp_path: Path, recording: bytes, expected_events: list[dict[str, Any]]
) -> None:
    settings = environment(tmp_path)
    with running_server(tmp_path, model, "--workers", 2, **settings) as server:
        with server.client() as client:
            path = submit(client, *[recording] * 3)
            wait_for_events(client, path)
            [worker] = readers_of(server, tmp_path / "jobs")
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: worker not in children(server.process.pid))
        let_leases_lapse(tmp_path / "jobs")
        with server.client() as client:
            wait_until(lambda: is_ready(client))
            job = wait_for_job(client, path, "done", "failed")
            metrics = client.get("/metrics").text
    assert events_of(job) == [expected_events] * 3
    assert "earful_jobs_running 0.0" in metrics
    assert 'earful_jobs_finished_total{outcome="done"} 1.0' in metrics


def readers_of(server: RunningServer, root: Path) -> list[int]:
    """The workers that read an upload now."""
    opened = wait_until(
        lambda: [
            pid
            for pid in children(server.process.pid)
            if any(file.is_relative_to(root / "uploads") for file in open_files(pid))
        ]
    )
    return list(opened)


def test_two_workers_run_two_jobs_and_both_serve_every_job(
    model: Path, tmp_path: Path, recording: bytes, expected_events: list[dict[str, Any]]
) -> None:
    with running_server(tmp_path, model, "--workers", 2, **environment(tmp_path)) as server:
        with server.client() as client:
            paths = [submit(client, *[recording] * 2) for _ in range(2)]
            wait_until(lambda: len(readers_of(server, tmp_path / "jobs")) == 2)
        for _ in range(6):  # new connections, so that both workers answer
            with server.client() as client:
                assert [client.get(path).status_code for path in paths] == [200, 200]
        with server.client() as client:
            for path in paths:
                job = wait_for_job(client, path, "done", "failed")
                assert events_of(job) == [expected_events] * 2
    assert "job_lost" not in server.log.read_text()


def test_file_is_answered_by_the_model_it_started_with(
    model: Path, tmp_path: Path, recording: bytes
) -> None:
    served = Path(shutil.copy(model, tmp_path / "served.onnx"))
    newer = other_version(model, tmp_path / "newer.onnx")
    with (
        running_server(tmp_path, served, **environment(tmp_path)) as server,
        server.client() as client,
    ):
        with busy(server):
            path = submit(client, recording, SHORT)
            wait_for_events(client, path)
            newer.replace(served)
            new = wait_until(lambda: is_new(client.get("/readyz").json()["model"]))
            running = client.get(path).json()
        job = wait_for_job(client, path, "done")
    assert running["results"][0]["status"] == "running"
    assert [result["model"]["created"][:4] == "2030" for result in job["results"]] == [False, True]
    assert job["results"][1]["model"] == new


def is_new(info: dict[str, str]) -> dict[str, str] | None:
    return info if info["created"].startswith("2030") else None


def test_job_is_deleted_when_it_is_older_than_it_is_kept(model: Path, tmp_path: Path) -> None:
    settings = environment(tmp_path, EARFUL_JOB_RETENTION_HOURS="0.0005")
    with running_server(tmp_path, model, **settings) as server, server.client() as client:
        path = submit(client, SHORT)
        wait_until(lambda: 'outcome="done"} 1.0' in client.get("/metrics").text)
        wait_until(lambda: client.get(path).status_code == 404)
        wait_until(lambda: 'outcome="expired"} 1.0' in client.get("/metrics").text)
    assert uploads(tmp_path / "jobs") == []


def send_half(server: RunningServer, n_bytes: int) -> socket.socket:
    """Send the start of a job of ``n_bytes``, half of them."""
    connection = socket.create_connection(("127.0.0.1", int(server.url.rpartition(":")[2])))
    head = f"POST {JOBS} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {n_bytes}\r\n\r\n"
    connection.sendall(head.encode() + bytes(n_bytes // 2))
    return connection


def test_upload_that_stops_leaves_nothing(model: Path, tmp_path: Path) -> None:
    settings = environment(
        tmp_path, EARFUL_MAX_JOBS_BYTES="9000000", EARFUL_MAX_JOB_UPLOAD_BYTES="6000000"
    )
    with running_server(tmp_path, model, **settings) as server, server.client() as client:
        connection = send_half(server, 6_000_000)
        wait_until(lambda: uploads(tmp_path / "jobs"))
        refused = client.post(JOBS, content=bytes(5_000_000))  # the first one has its place
        assert (refused.status_code, refused.json()["error"]["code"]) == (429, "queue_full")
        assert int(refused.headers["retry-after"]) > 0
        connection.close()
        wait_until(lambda: not uploads(tmp_path / "jobs"))
        wait_until(lambda: client.post(JOBS, content=bytes(5_000_000)).status_code == 202)
    assert "Traceback" not in server.log.read_text()


def test_upload_that_does_not_go_on_is_refused(model: Path, tmp_path: Path) -> None:
    settings = environment(tmp_path, EARFUL_DEADLINE_SECONDS="0.3")
    with running_server(tmp_path, model, **settings) as server:
        with send_half(server, 40_000) as connection:
            assert b" 408 " in connection.recv(1000)
        assert uploads(tmp_path / "jobs") == []


def test_full_disk_refuses_the_upload_and_keeps_serving(model: Path, tmp_path: Path) -> None:
    with (
        running_server(tmp_path, model, **environment(tmp_path)) as server,
        server.client() as client,
    ):
        kept = submit(client, SHORT)
        # Writing beyond this size fails, as on a full disk.
        resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        full = client.post(JOBS, content=bytes(3 << 20))
        assert (full.status_code, full.json()["error"]["code"]) == (507, "disk_full")
        assert int(full.headers["retry-after"]) > 0
        wait_for_job(client, kept, "done")
        wait_for_job(client, submit(client, SHORT), "done")
    assert uploads(tmp_path / "jobs") == []
    assert "Traceback" not in server.log.read_text()


def test_jobs_lie_in_the_database_of_feedback(model: Path, tmp_path: Path, jobs_url: str) -> None:
    settings = environment(tmp_path, EARFUL_FEEDBACK_URL=jobs_url)
    with running_server(tmp_path, model, **settings) as server, server.client() as client:
        path = submit(client, SHORT)
        job = wait_for_job(client, path, "done")
        body = {"label": "low", "annotator": "anna"}
        answer = client.post("/v1/classify", content=SHORT).json()["results"][0]
        body["prediction_id"] = answer["prediction_id"]
        assert client.post("/v1/feedback", json=body).status_code == 201
    assert job["results"][0]["label"] == "mid"
    assert not (tmp_path / "jobs" / "jobs.db").exists()
    engine = create_engine(jobs_url)
    with engine.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM earful_jobs")) == 1
        assert connection.scalar(text("SELECT count(*) FROM earful_annotations")) == 1
    engine.dispose()


def test_replicas_with_folders_of_their_own_share_the_results(
    model: Path, tmp_path: Path, new_postgres: str, recording: bytes
) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    first_settings, second_settings = (
        environment(folder, EARFUL_FEEDBACK_URL=new_postgres) for folder in folders
    )
    with (
        running_server(folders[0], model, **first_settings) as first_server,
        running_server(folders[1], model, **second_settings) as second_server,
        first_server.client() as first,
        second_server.client() as second,
        busy(first_server),
    ):
        running, waiting = submit(first, *[recording] * 3), submit(first, SHORT)
        wait_for_events(second, running)
        other = submit(second, SHORT)
        assert wait_for_job(first, other, "done")["results"][0]["label"] == "mid"
        # Only the replica with the files can run it.
        assert second.get(waiting).json()["status"] == "waiting"
        assert second.request("DELETE", waiting).status_code == 204
        assert first.get(waiting).status_code == 404
        assert second.request("DELETE", running).status_code == 204
        wait_until(lambda: not uploads(folders[0] / "jobs"))


def test_unusable_folder_stops_the_start_with_one_line(model: Path, tmp_path: Path) -> None:
    from tests.fixtures.server import serve

    (tmp_path / "file").write_bytes(b"")
    with serve(
        "--model", model, "--port", 0, EARFUL_JOBS_DIR=str(tmp_path / "file" / "jobs")
    ) as process:
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert len(stderr.splitlines()) == 1
    assert "EARFUL_JOBS_DIR" in stderr


def status_and_code(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]
