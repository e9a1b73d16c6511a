"""What can be wrong with the place of the feedback is found before anything is served."""

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
    """What signs ids, and the database where it had to be opened for that; blocks.

    Raises:
        FeedbackError: the database, or the folder of the audio, cannot be used.
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
    """See, before servers are started, that a place that was asked for can be used.

    Raises:
        FeedbackError: it cannot.
    """
    url = settings.database_url()
    if url is not None and settings.wants_feedback:
        _, database = open_database_and_ids(settings, DatabaseAddress.parse(url))
        if database is not None:
            database.close()
