"""What can be wrong with the place of the feedback is found before anything is served."""

from typing import TYPE_CHECKING

from earful.service.core.settings import Settings
from earful.service.feedback.audio_files import AudioStore
from earful.service.feedback.database_url import Place
from earful.service.feedback.prediction_ids import PredictionIds
from earful.service.feedback.schema import ready_key

if TYPE_CHECKING:
    from earful.service.feedback.database import Store


def usable(settings: Settings, place: Place) -> "tuple[PredictionIds, Store | None]":
    """What signs ids, and the database where it had to be opened for that; blocks.

    Raises:
        FeedbackError: the database, or the folder of the audio, cannot be used.
    """
    key, store = ready_key(place), None
    if key is None:
        from earful.service.feedback.database import open_store

        store = open_store(place)
        key = store.prediction_key()
    ids = PredictionIds(key)
    if settings.keep_audio != "off":
        AudioStore(settings.audio_dir).prepare(ids.fingerprint)
    return ids, store


def check_place(settings: Settings) -> None:
    """See, before servers are started, that a place that was asked for can be used.

    Raises:
        FeedbackError: it cannot.
    """
    url = settings.database_url()
    if url is not None and settings.wants_feedback:
        _, store = usable(settings, Place.parse(url))
        if store is not None:
            store.close()
