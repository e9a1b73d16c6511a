"""Feedback with real server processes: concurrent requests, kills, restarts, the commands."""

import asyncio
import json
import os
import signal
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, text
from typer.testing import Result

from earful.data.errors import EarfulError
from earful.service.feedback.database import open_database
from earful.service.feedback.database_url import DatabaseAddress
from earful.service.feedback.records import FeedbackAnnotation
from earful.service.feedback.tables import annotations_table
from tests.fixtures.feedback import add_in_transaction
from tests.fixtures.postgres import PASSWORD
from tests.fixtures.server import RunningServer, running_server, serve
from tests.fixtures.synthetic_audio import tone, wav
from tests.service.feedback.conftest import sha256_of_name
from tests.service.server.test_lifecycle import children

CONNECTIONS = 200
HEAD = (
    "POST /v1/feedback HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
    "Content-Type: application/json\r\n"
)
FEEDBACK_ROUTE = "/v1/feedback"


def prediction_id(server: RunningServer) -> str:
    with server.client() as client:
        response = client.post("/v1/classify", content=wav(tone("mid")))
    identifier: str = response.json()["results"][0]["prediction_id"]
    return identifier


async def post_many(server: RunningServer, about: str, count: int) -> list[tuple[int, Any]]:
    """(status, JSON) of concurrent requests, each by another annotator."""
    port = int(server.url.rpartition(":")[2])
    free_connections = asyncio.Semaphore(CONNECTIONS)

    async def post(annotator: str) -> tuple[int, Any]:
        body = json.dumps({"prediction_id": about, "label": "low", "annotator": annotator})
        async with free_connections:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(f"{HEAD}Content-Length: {len(body)}\r\n\r\n{body}".encode())
            head, _, content = (await reader.read()).partition(b"\r\n\r\n")
            writer.close()
        return int(head.split()[1]), json.loads(content)

    return await asyncio.gather(*(post(f"p{n}") for n in range(count)))


def kill(server: RunningServer) -> None:
    for pid in [*children(server.process.pid), server.process.pid]:
        os.kill(pid, signal.SIGKILL)
    server.process.wait(30)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("url", "workers", "count"),
    [("sqlite", 1, 300), ("sqlite", 3, 1000), ("postgresql", 2, 300)],
    indirect=["url"],
)
def test_concurrent_posts_survive_a_kill(
    url: str, model: Path, tmp_path: Path, workers: int, count: int
) -> None:
    options = ("--workers", workers, "--feedback", url)
    with running_server(tmp_path, model, *options) as server:
        responses = asyncio.run(post_many(server, prediction_id(server), count))
        kill(server)
    assert {status for status, _ in responses} == {201}
    database = open_database(DatabaseAddress.parse(url), create=False)
    with database.read_transaction() as connection:
        rows = connection.execute(annotations_table.select()).all()
    database.close()
    assert {row.annotator for row in rows} == {f"p{n}" for n in range(count)}
    assert {row.id for row in rows} == {body["id"] for _, body in responses}
    assert PASSWORD not in server.log.read_text()


@pytest.mark.slow
def test_acknowledged_feedback_survives_a_kill(model: Path, tmp_path: Path) -> None:
    path, acknowledged = tmp_path / "feedback.db", []
    with running_server(tmp_path, model, "--feedback", f"sqlite:///{path}") as server:
        about, enough = prediction_id(server), threading.Event()

        def post(worker: int) -> None:
            with server.client() as client:
                for n in range(10_000):
                    body = {"prediction_id": about, "label": "low", "annotator": f"{worker}-{n}"}
                    try:
                        response = client.post(FEEDBACK_ROUTE, json=body)
                    except httpx.TransportError:
                        return
                    assert response.status_code == 201
                    acknowledged.append(body["annotator"])
                    if len(acknowledged) > 100:
                        enough.set()

        threads = [threading.Thread(target=post, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        assert enough.wait(60)
        kill(server)
        for thread in threads:
            thread.join()
    with sqlite3.connect(path) as connection:
        stored = {
            annotator
            for (annotator,) in connection.execute("SELECT annotator FROM earful_annotations")
        }
    connection.close()
    assert set(acknowledged) <= stored
    # Prediction ids from before the kill stay valid.
    with running_server(tmp_path, model, "--feedback", f"sqlite:///{path}") as server:
        assert prediction_id(server) == about
        with server.client() as client:
            body = {"prediction_id": about, "label": "low", "annotator": acknowledged[0]}
            assert client.post(FEEDBACK_ROUTE, json=body).status_code == 200


@pytest.mark.slow
def test_lost_postgresql_connection_gives_503_and_recovers(
    new_postgres: str, model: Path, tmp_path: Path
) -> None:
    admin = create_engine(
        new_postgres.rpartition("/")[0] + "/postgres", isolation_level="AUTOCOMMIT"
    )
    name = new_postgres.rpartition("/")[2]

    def close(closed: bool) -> None:
        with admin.connect() as connection:
            allowed = "false" if closed else "true"
            connection.execute(text(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {allowed}"))
            if closed:
                end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"
                connection.execute(text(end), {"name": name})

    with (
        running_server(tmp_path, model, EARFUL_FEEDBACK_URL=new_postgres) as server,
        server.client() as client,
    ):
        body = {"prediction_id": prediction_id(server), "label": "low", "annotator": "anna"}
        assert client.post(FEEDBACK_ROUTE, json=body).status_code == 201
        close(True)
        failed = client.post(FEEDBACK_ROUTE, json=body | {"label": "mid"})
        assert (failed.status_code, failed.json()["error"]["code"]) == (503, "feedback_unavailable")
        assert prediction_id(server) == body["prediction_id"]
        close(False)
        assert client.post(FEEDBACK_ROUTE, json=body | {"label": "mid"}).status_code == 201
    admin.dispose()
    log = server.log.read_text()
    assert PASSWORD not in log
    assert "Traceback" not in log


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--feedback", "postgresql://me:secret@127.0.0.1:1/db"), "cannot use postgresql://"),
        (("--feedback", "mysql://me:secret@h/db"), "scheme 'mysql'"),
        (("--feedback", "sqlite:////proc/none/f.db", "--workers", 2), "cannot write"),
        (("--feedback", "off", "--save-recordings", "all"), "nothing could be saved"),
    ],
)
def test_unusable_database_url_is_a_one_line_error(
    model: Path, options: tuple[object, ...], reason: str
) -> None:
    with serve("--model", model, "--port", 0, *options) as process:
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 2
    assert len(stderr.splitlines()) == 1
    assert stderr.startswith("earful: ")
    assert reason in stderr
    assert "secret" not in stderr


def test_feedback_commands_show_export_delete_and_clean(
    earful: Callable[..., Result], tmp_path: Path, url: str
) -> None:
    place = ("--feedback", url)
    with pytest.raises(EarfulError, match="no feedback at"):
        earful_raising(earful, "list", *place)
    database = open_database(DatabaseAddress.parse(url))
    for annotator in ("anna", "bob"):
        add_in_transaction(database, annotation("a", annotator))
    database.close()
    assert "annotations: 2" in earful("feedback", "list", *place).stdout
    assert '"rows": 2' in earful("feedback", "list", "--json", *place).stdout
    exported = earful("feedback", "export", "--annotator", "anna", *place)
    assert '"annotator": "anna"' in exported.stdout
    assert "bob" not in exported.stdout
    snapshot = earful("feedback", "export", "--labels", tmp_path / "snapshot", *place)
    assert "1 left out: audio not saved" in snapshot.stderr
    neither = earful("feedback", "export", *place)
    assert "give --annotator KEY or --labels FOLDER" in str(neither.exception)
    unconfirmed = earful("feedback", "delete", "--annotator", "anna", *place)
    assert unconfirmed.exit_code == 1
    done = earful("feedback", "delete", "--annotator", "anna", "--yes", *place)
    assert "deleted 1 labels and 0 recordings" in done.stdout
    with pytest.raises(EarfulError, match="nothing is stored under"):
        earful_raising(earful, "delete", "--annotator", "anna", "--yes", *place)
    cleaned = earful("feedback", "clean", *place, "--saved-recordings", tmp_path / "none")
    assert cleaned.stdout.startswith("deleted 0 recordings")
    with pytest.raises(EarfulError, match="feedback is off"):
        earful_raising(earful, "list", "--feedback", "off")


def annotation(name: str, annotator: str) -> FeedbackAnnotation:
    return FeedbackAnnotation(sha256_of_name(name), "low", annotator)


def earful_raising(earful: Callable[..., Result], *arguments: object) -> None:
    raised = earful("feedback", *arguments).exception
    assert raised is not None
    raise raised
