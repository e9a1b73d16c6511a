"""Empty SQLite and PostgreSQL databases, a recordings folder, and functions that fill them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from earful.service.feedback.audio_files import RecordingStore
from earful.service.feedback.database import FeedbackDatabase, open_database
from earful.service.feedback.database_url import DatabaseAddress
from earful.service.feedback.recording_rows import store_recordings
from earful.service.feedback.records import FeedbackAnnotation, StoredRecording
from earful.service.feedback.tables import meta
from tests.fixtures.feedback import add_in_transaction
from tests.fixtures.postgres import postgres, postgres_bin_folder


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a PostgreSQL server, without a database name."""
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
    """The URL of an empty database: SQLite and PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/feedback.db"
    postgres_database: str = request.getfixturevalue("new_postgres")
    return postgres_database


@pytest.fixture
def database(url: str) -> Iterator[FeedbackDatabase]:
    opened = open_database(DatabaseAddress.parse(url))
    yield opened
    opened.close()


@pytest.fixture
def recording_store(database: FeedbackDatabase, tmp_path: Path) -> RecordingStore:
    store = RecordingStore(tmp_path / "audio")
    store.prepare("the owner")
    return store


def sha256_of_name(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def fill_disk(database: FeedbackDatabase) -> None:
    """Write more than there is room for."""
    with database.write_transaction() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1")  # the least: as large as it is
        connection.execute(meta.insert(), [{"name": "large", "value": "x" * 1_000_000}])


def annotate(
    database: FeedbackDatabase, name: str, label: str | None, annotator: str, **more: str
) -> int:
    """Annotate the recording with this name; the id of the row."""
    annotation = FeedbackAnnotation(sha256_of_name(name), label, annotator, **more)  # type: ignore[arg-type]
    return add_in_transaction(database, annotation).id


def save_clip(
    database: FeedbackDatabase,
    recording_store: RecordingStore,
    name: str,
    predicted: str = "mid",
    margin: float = 0.5,
) -> Path:
    """Save a recording whose bytes are its name; its file."""
    clip = StoredRecording(
        sha256=sha256_of_name(name),
        suffix="wav",
        n_bytes=len(name),
        seconds=0.4,
        predicted_label=predicted,
        score=0.9,
        margin=margin,
        model_name="tones",
        model_version="1",
    )
    with database.write_transaction() as connection:
        store_recordings(
            connection, database, recording_store, {clip.sha256: (clip, name.encode())}
        )
    return recording_store.path(clip.sha256, "wav")
