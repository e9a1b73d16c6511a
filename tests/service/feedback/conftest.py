"""A database of each kind, a folder of audio, and recordings to speak of."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from earful.service.feedback.annotations import add_alone
from earful.service.feedback.audio_files import AudioStore
from earful.service.feedback.database import Store, open_store
from earful.service.feedback.database_url import Place
from earful.service.feedback.recording_rows import keep
from earful.service.feedback.records import KeptClip, Opinion
from tests.fixtures.postgres import postgres, programs

# (sha256 of a recording by its name)
Said = Callable[..., int]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a PostgreSQL server, up to the database's name."""
    if programs() is None:
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
def store(url: str) -> Iterator[Store]:
    opened = open_store(Place.parse(url))
    yield opened
    opened.close()


@pytest.fixture
def audio(store: Store, tmp_path: Path) -> AudioStore:
    folder = AudioStore(tmp_path / "audio")
    folder.prepare("the owner")
    return folder


def named(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()


def say(store: Store, name: str, label: str | None, who: str, **more: str) -> int:
    """Somebody says what is right of the recording with a name; the id of the row."""
    return add_alone(store, Opinion(named(name), label, who, **more)).id  # type: ignore[arg-type]


def keep_clip(
    store: Store, audio: AudioStore, name: str, heard: str = "mid", margin: float = 0.5
) -> Path:
    """Keep a recording whose bytes are its name; its file."""
    clip = KeptClip(named(name), "wav", len(name), 0.4, heard, 0.9, margin, "tones", "1")
    with store.writing() as connection:
        keep(connection, store, audio, {clip.sha256: (replace(clip), name.encode())})
    return audio.path(clip.sha256, "wav")
