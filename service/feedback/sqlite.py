"""Inspects and creates the file of an SQLite database without SQLAlchemy."""

import contextlib
import os
import sqlite3
import time
from pathlib import Path

from earful.service.feedback.errors import FeedbackError

BUSY_SECONDS = 5.0
_RETRY_SECONDS = 0.02


def inspect_file(path: Path) -> tuple[set[str], dict[str, str]]:
    """(table names, content of ``earful_meta``) of a database file.

    Opens the file read-only; takes a few milliseconds. Both are empty for a missing or empty file.

    Raises:
        FeedbackError: the file cannot be read, or is not an SQLite database.
    """
    if not path.exists() or (path.is_file() and path.stat().st_size == 0):
        return set(), {}
    if not path.is_file():
        raise FeedbackError(f"{path} is not a file; give a file for the feedback database")
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", timeout=BUSY_SECONDS, uri=True)
        ) as connection:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            tables = {name for (name,) in rows if not name.startswith("sqlite_")}
            if "earful_meta" not in tables:
                return tables, {}
            meta_rows = connection.execute("SELECT name, value FROM earful_meta").fetchall()
            return tables, {str(name): str(value) for name, value in meta_rows}
    except sqlite3.Error as error:
        raise FeedbackError(f"cannot read {path} as a feedback database: {error}") from error


def ensure_writable_file(path: Path) -> None:
    """Check that the file is writable; create it if missing, with access for its owner only.

    Raises:
        FeedbackError: the file or its folder is not writable.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise FeedbackError(f"cannot write {path}: {error.strerror}") from error
    if not os.access(path.parent, os.W_OK):  # SQLite writes its journal beside the file
        raise FeedbackError(f"cannot write into the folder {path.absolute().parent}")


def enable_wal(path: Path) -> None:
    """Switch to write-ahead logging, so that writers do not block readers; stored in the file.

    Raises:
        FeedbackError: the file system does not support it.
    """
    end = time.monotonic() + BUSY_SECONDS
    with contextlib.closing(sqlite3.connect(path, timeout=BUSY_SECONDS)) as connection:
        while (mode := _try_enable_wal(connection)) == "locked" and time.monotonic() < end:
            time.sleep(_RETRY_SECONDS)
    if mode != "wal":
        raise FeedbackError(
            f"{path} is {mode}, or is on a file system where processes cannot share an SQLite "
            "database (a network folder?); use a local file, or PostgreSQL"
        )


def _try_enable_wal(connection: sqlite3.Connection) -> str:
    """The journal mode after one try: SQLite does not wait for processes that do the same."""
    try:
        mode: str = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    except sqlite3.OperationalError as error:
        return "locked" if "locked" in str(error) else f"not writable ({error})"
    return mode


def file_identity(path: Path) -> tuple[int, int] | None:
    """(device, inode) of a file, which change when it is replaced; None if it does not exist."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def configure_connection(connection: sqlite3.Connection) -> None:
    """Set up a connection; ``database`` begins all transactions itself."""
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {round(1000 * BUSY_SECONDS)}",
        "foreign_keys = ON",
        "synchronous = FULL",  # feedback acknowledged with 201 survives a power loss
        "secure_delete = ON",  # overwrite deleted data
    ):
        connection.execute(f"PRAGMA {pragma}")
