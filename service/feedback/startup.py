"""Checks the feedback database and the recordings folder before the service starts."""

from typing import TYPE_CHECKING

from earful.service.core.settings import Settings
from earful.service.feedback.audio_files import RecordingStore
from earful.service.feedback.database_url import DatabaseAddress
from earful.service.feedback.prediction_ids import PredictionIds
from earful.service.feedback.schema import read_existing_key

if TYPE_CHECKING:
    from earful.service.feedback.database import FeedbackDatabase


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
