"""Whose tables a database holds: ours of this version, or anything else, which is left alone."""

from collections.abc import Mapping

from earful.service.feedback.database_url import DatabaseAddress
from earful.service.feedback.errors import FeedbackError
from earful.service.feedback.sqlite import ensure_writable_file, inspect_file

SCHEMA_VERSION = 1
META_TABLE = "earful_meta"


def check_schema(
    address: DatabaseAddress, tables: set[str], found: Mapping[str, str], create: bool
) -> None:
    """See that a database is ours, or empty where one may be made (``create``).

    ``tables`` are the names of its tables, ``found`` what ``earful_meta`` holds.

    Raises:
        FeedbackError: it is not.
    """
    if found:
        version = found.get("schema_version", "")
        if version != str(SCHEMA_VERSION) or "prediction_key" not in found:
            raise FeedbackError(
                f"{address} has version {version[:20]!r} of the tables, and this program knows "
                f"version {SCHEMA_VERSION}; use the program that made it, or another database"
            )
    elif tables:
        shown = ", ".join(sorted(tables)[:3])
        raise FeedbackError(
            f"{address} holds tables of something else ({shown}); give a database, or a schema of "
            "it, for feedback alone"
        )
    elif not create:
        raise FeedbackError(f"no feedback at {address}; give its place as --feedback URL")


def read_existing_key(address: DatabaseAddress) -> bytes | None:
    """The key of the prediction ids of an SQLite database that is ready, at no cost.

    None for any other: opening it tells what is wrong, or makes the tables.

    Raises:
        FeedbackError: the file holds something else, or cannot be written.
    """
    if address.path is None:
        return None
    tables, found = inspect_file(address.path)
    check_schema(address, tables, found, create=True)
    if not found:
        return None
    ensure_writable_file(address.path)
    return bytes.fromhex(found["prediction_key"])
