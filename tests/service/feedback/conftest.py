"""A database of each kind, a folder of audio, and recordings to speak of."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from earful.service.feedback.annotations import add_annotation_in_transaction
from earful.service.feedback.audio_files import RecordingStore
from earful.service.feedback.database import FeedbackDatabase, open_database
from earful.service.feedback.database_url import DatabaseAddress
from earful.service.feedback.recording_rows import store_recordings
from earful.service.feedback.records import FeedbackAnnotation, StoredRecording
from tests.fixtures.postgres import postgres, postgres_bin_folder

# (sha256 of a recording by its name)
Annotate = Callable[..., int]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a PostgreSQL server, up to the database's name."""
    if postgres_bin_folder() is None:
        pytest.skip("needs PostgreSQL (Debian: apt install postgresql)")
    with postgres() as url:
        yield url


@pytest.fixture
def new_postgres(postgres_url: str, request: pytest.FixtureRequest) -> str:
    """The URL of a new, empty PostgreSQL database."""
    name = "t" + hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:16]
    admin = create_engine(postgres_url + "postgres", isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    return postgres_url + name


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A place where nothing is yet, of each kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/feedback.db"
    found: str = request.getfixturevalue("new_postgres")
    return found


@pytest.fixture
def database(url: str) -> Iterator[FeedbackDatabase]:
    opened = open_database(DatabaseAddress.parse(url))
    yield opened
    opened.close()


@pytest.fixture
def recording_store(database: FeedbackDatabase, tmp_path: Path) -> RecordingStore:
    folder = RecordingStore(tmp_path / "audio")
    folder.prepare("the owner")
    return folder


def sha256_of_name(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def annotate(
    database: FeedbackDatabase, name: str, label: str | None, annotator: str, **more: str
) -> int:
    """Somebody says what is right of the recording with a name; the id of the row."""
    return add_annotation_in_transaction(
        database, FeedbackAnnotation(sha256_of_name(name), label, annotator, **more)
    ).id  # type: ignore[arg-type]


def save_clip(
    database: FeedbackDatabase,
    recording_store: RecordingStore,
    name: str,
    predicted: str = "mid",
    margin: float = 0.5,
) -> Path:
    """Keep a recording whose bytes are its name; its file."""
    clip = StoredRecording(
        sha256_of_name(name), "wav", len(name), 0.4, predicted, 0.9, margin, "tones", "1"
    )
    with database.write_transaction() as connection:
        store_recordings(
            connection, database, recording_store, {clip.sha256: (replace(clip), name.encode())}
        )
    return recording_store.path(clip.sha256, "wav")
