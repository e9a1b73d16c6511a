"""Checks that a database holds the feedback tables of this version; any other is left unchanged."""

from collections.abc import Mapping

from earful.service.feedback.database_url import DatabaseAddress
from earful.service.feedback.errors import FeedbackError
from earful.service.feedback.sqlite import ensure_writable_file, inspect_file

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
