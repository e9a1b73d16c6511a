"""Checks before the service starts: the database and the folder of recordings can be used.

A database that does not hold the feedback tables of this version is left unchanged.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from earful.service.core.settings import Settings
from earful.service.feedback.audio_files import RecordingStore
from earful.service.feedback.database_url import DatabaseAddress
from earful.service.feedback.errors import FeedbackError
from earful.service.feedback.prediction_ids import PredictionIds
from earful.service.feedback.sqlite import ensure_writable_file, inspect_file

if TYPE_CHECKING:
    from earful.service.feedback.database import FeedbackDatabase

SCHEMA_VERSION = 3
# Brought to this version when the database is opened: 2 has no senders.
OLDER_VERSIONS = ("2",)
META_TABLE = "earful_meta"


def check_schema(
    address: DatabaseAddress, tables: set[str], meta: Mapping[str, str], create: bool
) -> None:
    """Check that a database holds the feedback tables, or is empty and may be filled (``create``).

    ``tables`` are its table names, ``meta`` the content of ``earful_meta``.

    Raises:
        FeedbackError: it holds other tables or another version, or is empty without ``create``.
    """
    if meta:
        version = meta.get("schema_version", "")
        known = (*OLDER_VERSIONS, str(SCHEMA_VERSION))
        if version not in known or "prediction_key" not in meta:
            raise FeedbackError(
                f"{address} has schema version {version[:20]!r}, this program needs "
                f"{SCHEMA_VERSION}; use the program version that created it, or another database"
            )
    elif tables:
        table_names = ", ".join(sorted(tables)[:3])
        raise FeedbackError(
            f"{address} holds other tables ({table_names}); use a separate database or schema for "
            "feedback"
        )
    elif not create:
        raise FeedbackError(f"no feedback at {address}; give the database as --feedback URL")


def read_existing_key(address: DatabaseAddress) -> bytes | None:
    """The prediction key of an existing SQLite database, read without SQLAlchemy.

    None for PostgreSQL and for an empty database, which must be opened to get the key.

    Raises:
        FeedbackError: the file holds something else, or cannot be written.
    """
    if address.path is None:
        return None
    tables, meta = inspect_file(address.path)
    check_schema(address, tables, meta, create=True)
    if not meta:
        return None
    ensure_writable_file(address.path)
    return bytes.fromhex(meta["prediction_key"])


def open_database_and_ids(
    settings: Settings, address: DatabaseAddress
) -> "tuple[PredictionIds, FeedbackDatabase | None]":
    """The signer of prediction ids, and the database if it had to be opened for its key; blocks.

    Raises:
        FeedbackError: the database or the recordings folder cannot be used.
    """
    key, database = read_existing_key(address), None
    if key is None:
        from earful.service.feedback.database import open_database

        database = open_database(address)
        key = database.prediction_key()
    ids = PredictionIds(key)
    if settings.save_recordings != "off":
        RecordingStore(settings.recordings_dir).prepare(ids.fingerprint)
    return ids, database


def check_feedback_database(settings: Settings) -> None:
    """Check that a database given in the settings can be used, before workers are started.

    Raises:
        FeedbackError: it cannot be used.
    """
    url = settings.database_url()
    if url is not None and settings.wants_feedback:
        _, database = open_database_and_ids(settings, DatabaseAddress.parse(url))
        if database is not None:
            database.close()
