"""Whose tables a database holds: ours of this version, or anything else, which is left alone."""

from collections.abc import Mapping

from earful.service.feedback.database_url import Place
from earful.service.feedback.errors import FeedbackError
from earful.service.feedback.sqlite import make_file, peek

SCHEMA_VERSION = 1
META = "earful_meta"


def check(place: Place, tables: set[str], found: Mapping[str, str], create: bool) -> None:
    """See that a database is ours, or empty where one may be made (``create``).

    ``tables`` are the names of its tables, ``found`` what ``earful_meta`` holds.

    Raises:
        FeedbackError: it is not.
    """
    if found:
        version = found.get("schema_version", "")
        if version != str(SCHEMA_VERSION) or "prediction_key" not in found:
            raise FeedbackError(
                f"{place} has version {version[:20]!r} of the tables, and this program knows "
                f"version {SCHEMA_VERSION}; use the program that made it, or another database"
            )
    elif tables:
        shown = ", ".join(sorted(tables)[:3])
        raise FeedbackError(
            f"{place} holds tables of something else ({shown}); give a database, or a schema of "
            "it, for feedback alone"
        )
    elif not create:
        raise FeedbackError(f"no feedback at {place}; give its place as --feedback URL")


def ready_key(place: Place) -> bytes | None:
    """The key of the prediction ids of an SQLite database that is ready, at no cost.

    None for any other: opening it tells what is wrong, or makes the tables.

    Raises:
        FeedbackError: the file holds something else, or cannot be written.
    """
    if place.path is None:
        return None
    tables, found = peek(place.path)
    check(place, tables, found, create=True)
    if not found:
        return None
    make_file(place.path)
    return bytes.fromhex(found["prediction_key"])
