"""The file of an SQLite database: looked at without SQLAlchemy, made, and never altered unasked."""

import contextlib
import os
import sqlite3
import time
from pathlib import Path

from earful.service.feedback.errors import FeedbackError

BUSY_SECONDS = 5.0
_RETRY_SECONDS = 0.02


def inspect_file(path: Path) -> tuple[set[str], dict[str, str]]:
    """The names of the tables of a database file, and what its table ``earful_meta`` holds.

    A few milliseconds; the file is only read. Both are empty for a file that is not there or has
    nothing in it.

    Raises:
        FeedbackError: it cannot be read, or is no database.
    """
    if not path.exists() or (path.is_file() and path.stat().st_size == 0):
        return set(), {}
    if not path.is_file():
        raise FeedbackError(f"{path} is no file; give the name of one for the feedback")
    try:
        with contextlib.closing(
            sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", BUSY_SECONDS, uri=True)
        ) as connection:
            rows = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
            tables = {name for (name,) in rows if not name.startswith("sqlite_")}
            if "earful_meta" not in tables:
                return tables, {}
            found = connection.execute("SELECT name, value FROM earful_meta").fetchall()
            return tables, {str(name): str(value) for name, value in found}
    except sqlite3.Error as error:
        raise FeedbackError(f"{path} cannot be read as a database of feedback: {error}") from error


def ensure_writable_file(path: Path) -> None:
    """See that the file is there and can be written, by its owner alone if it is new.

    Raises:
        FeedbackError: it is not.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise FeedbackError(f"cannot write {path}: {error.strerror}") from error
    if not os.access(path.parent, os.W_OK):  # its journal is a file beside it
        raise FeedbackError(f"cannot write into the folder {path.absolute().parent}")


def enable_wal(path: Path) -> None:
    """Let writers not hold up readers; the choice is kept in the file.

    Raises:
        FeedbackError: the file lies where that cannot be.
    """
    end = time.monotonic() + BUSY_SECONDS
    with contextlib.closing(sqlite3.connect(path, BUSY_SECONDS)) as connection:
        while (mode := _try_enable_wal(connection)) == "locked" and time.monotonic() < end:
            time.sleep(_RETRY_SECONDS)
    if mode != "wal":
        raise FeedbackError(
            f"{path} is {mode}, or lies where SQLite cannot share it between processes (a network "
            "folder?); give a local file, or a PostgreSQL database"
        )


def _try_enable_wal(connection: sqlite3.Connection) -> str:
    """The journal's mode after one try: SQLite does not wait for others that try the same."""
    try:
        mode: str = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    except sqlite3.OperationalError as error:
        return "locked" if "locked" in str(error) else f"not writable ({error})"
    return mode


def file_identity(path: Path) -> tuple[int, int] | None:
    """What is another when the file is replaced; None while there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def configure_connection(connection: sqlite3.Connection) -> None:
    """What every connection has; transactions are begun by ``store`` alone."""
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {round(1000 * BUSY_SECONDS)}",
        "foreign_keys = ON",
        "synchronous = FULL",  # what was answered with 201 outlives a loss of power
        "secure_delete = ON",  # what is deleted is overwritten
    ):
        connection.execute(f"PRAGMA {pragma}")
