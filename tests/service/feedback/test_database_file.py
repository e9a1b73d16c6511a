"""Database URLs and files that cannot be used: prompt, clear errors without the password."""

import sqlite3
from pathlib import Path

import pytest

from earful.service.feedback.database import open_database
from earful.service.feedback.database_url import DatabaseAddress
from earful.service.feedback.errors import DatabaseFull, DatabaseUnavailable, FeedbackError
from tests.service.feedback.conftest import annotate, fill_disk


def test_locked_or_missing_file_is_reported_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("earful.service.feedback.sqlite.BUSY_SECONDS", 0.05)
    path = tmp_path / "f.db"
    database = open_database(DatabaseAddress.parse(f"sqlite:///{path}"))
    other = sqlite3.connect(path)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(DatabaseUnavailable, match="locked"):
        annotate(database, "a", "low", "anna")
    other.rollback()
    other.close()
    annotate(database, "a", "low", "anna")
    path.rename(tmp_path / "moved.db")
    with pytest.raises(DatabaseUnavailable, match="deleted or replaced"):
        annotate(database, "b", "low", "anna")
    database.close()


def test_a_full_disk_has_an_error_of_its_own(tmp_path: Path) -> None:
    database = open_database(DatabaseAddress.parse(f"sqlite:///{tmp_path}/f.db"))
    with pytest.raises(DatabaseFull, match="full"):
        fill_disk(database)
    database.close()


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("mysql://me:secret@host/db", "with the scheme 'mysql'"),
        ("sqlite://", "is a file without options"),
        ("sqlite:///:memory:", "is a file without options"),
        ("sqlite:///a.db?mode=ro", "is a file without options"),
        ("postgresql://me:sec@ret@127.0.0.1/db", "%40"),
        ("postgresql://me:secret@127.0.0.1:x/db", "invalid PostgreSQL URL"),
        ("postgresql+psycopg://me:secret@127.0.0.1:1/db", "cannot use"),
        ("secret", "no URL"),
        ("sqlite:////proc/none/f.db", "cannot write"),
    ],
)
def test_database_errors_do_not_show_the_password(url: str, reason: str) -> None:
    with pytest.raises(FeedbackError, match=reason) as refused:
        open_database(DatabaseAddress.parse(url))
    assert not {"secret", "sec", "ret@127.0.0.1"} & set(
        str(refused.value).replace(":", " ").split()
    )
    assert "secret" not in str(refused.value)


def test_file_that_is_no_database_is_refused_and_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "f.db"
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(FeedbackError, match="as a feedback database"):
        open_database(DatabaseAddress.parse(f"sqlite:///{path}"))
    assert path.read_bytes() == b"not a database" * 100
    with pytest.raises(FeedbackError, match="is not a file"):
        open_database(DatabaseAddress.parse(f"sqlite:///{tmp_path}"))
