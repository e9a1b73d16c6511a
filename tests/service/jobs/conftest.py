"""Databases, folders and recordings of jobs, and what tests of a running server do with them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from earful.data.audio.stream_reader import read_blocks
from earful.service.classifier import Classifier
from earful.service.events import detect_events
from earful.service.feedback.database import FeedbackDatabase, open_database
from earful.service.feedback.database_url import DatabaseAddress
from earful.service.jobs.job_folder import JobFolder
from earful.service.jobs.tables import create_job_tables
from tests.fixtures.synthetic_audio import PITCHES_HZ, noise, tone, wav
from tests.fixtures.waiting import wait_until
from tests.service.feedback.conftest import new_postgres, postgres_url

__all__ = ["new_postgres", "postgres_url"]

JOBS = "/v1/jobs"
WAIT_SECONDS = 90


@pytest.fixture(params=["sqlite", "postgresql"])
def jobs_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database: SQLite and PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/jobs.db"
    url: str = request.getfixturevalue("new_postgres")
    return url


@pytest.fixture
def database(jobs_url: str) -> Iterator[FeedbackDatabase]:
    opened = open_database(DatabaseAddress.parse(jobs_url))
    create_job_tables(opened)
    yield opened
    opened.close()


@pytest.fixture
def folder(tmp_path: Path) -> JobFolder:
    opened = JobFolder(tmp_path / "jobs")
    opened.prepare()
    return opened


def tones_and_pauses(seconds: float) -> bytes:
    """A recording with a tone every second, low, mid and high in turn."""
    minute = [noise(1.0, 0.001, n) for n in range(60)]
    for n, second in enumerate(minute):
        sound = tone(list(PITCHES_HZ)[n % 3], 0.4)
        second[2000 : 2000 + len(sound)] += sound
    return wav(np.tile(np.concatenate(minute), round(seconds / 60)))


@pytest.fixture(scope="session")
def recording() -> bytes:
    """A recording of twenty minutes, which takes some seconds."""
    return tones_and_pauses(1200)


@pytest.fixture(scope="session")
def expected_events(
    recording: bytes, classifier: Classifier, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """Its events as the command line finds them."""
    path = tmp_path_factory.mktemp("recording") / "recording.wav"
    path.write_bytes(recording)
    return [
        {"start": e.start, "end": e.end, "label": e.label, "score": round(e.score, 6)}
        for e in detect_events(classifier, read_blocks(path, classifier.sample_rate_hz))
    ]


def submit(client: httpx.Client, *files: bytes, **arguments: Any) -> str:
    """Post files as a job; its path."""
    form = [("file", (f"{n}.wav", content)) for n, content in enumerate(files)]
    response = client.post(JOBS, files=form, **arguments)
    assert response.status_code == 202, response.text
    location: str = response.headers["location"]
    assert location == f"{JOBS}/{response.json()['id']}"
    return location


def wait_for_job(client: httpx.Client, path: str, *states: str) -> dict[str, Any]:
    """Poll until the job is in one of the states; its JSON."""

    def job() -> dict[str, Any] | None:
        content: dict[str, Any] = client.get(path).json()
        return content if content["status"] in states else None

    found: dict[str, Any] = wait_until(job)
    return found


def wait_for_events(client: httpx.Client, path: str) -> dict[str, Any]:
    """Poll until a running job has events; its JSON."""

    def job() -> dict[str, Any] | None:
        content: dict[str, Any] = client.get(path).json()
        return content if any(result["events"] for result in content["results"]) else None

    found: dict[str, Any] = wait_until(job)
    assert found["status"] == "running"
    return found


def uploads(root: Path) -> list[str]:
    """Names of the uploads of all jobs, with their folders."""
    folder = root / "uploads"
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
