"""What is kept of one person: shown to them, and deleted, by the key that stands for them."""

from typing import Any

from sqlalchemy import Connection, delete, or_, select

from earful.service.feedback.audio_files import AudioStore
from earful.service.feedback.database import Store
from earful.service.feedback.recording_rows import chunks, kept_among, remove
from earful.service.feedback.records import Deleted, PersonsData
from earful.service.feedback.tables import feedback


def data_of(store: Store, key: str) -> PersonsData:
    """All that is kept of a person.

    Raises:
        StoreUnavailable: the database cannot be read.
    """
    with store.reading() as connection:
        found = select(feedback).where(_of(key)).order_by(feedback.c.id)
        rows = [dict(row) for row in connection.execute(found).mappings()]
        kept = kept_among(connection, (row["sha256"] for row in rows))
    for row in rows:
        del row["request_key"]
    return PersonsData(tuple(rows), tuple(row._asdict() for row in kept))


def delete_person(store: Store, audio: AudioStore, key: str) -> Deleted:
    """Delete a person's rows and recordings, in one transaction.

    A recording in which they speak goes in any case. One that they have only labelled goes when
    nobody else's rows are about it.

    Raises:
        StoreUnavailable: the database or a file cannot be written; nothing is deleted.
    """
    with store.writing() as connection:
        gone = delete(feedback).where(_of(key))
        rows = connection.execute(gone.returning(feedback.c.sha256, feedback.c.speaker)).all()
        spoken = {row.sha256 for row in rows if row.speaker == key}
        labelled = {row.sha256 for row in rows} - spoken
        others = _still_named(connection, labelled)
        clips, n_bytes = remove(connection, audio, [*spoken, *(labelled - others)])
    store.forget_journal()
    return Deleted(len(rows), clips, n_bytes)


def _still_named(connection: Connection, names: set[str]) -> set[str]:
    """Those of the recordings that rows are about."""
    found: set[str] = set()
    for some in chunks(names):
        about = select(feedback.c.sha256).where(feedback.c.sha256.in_(some)).distinct()
        found.update(connection.scalars(about))
    return found


def _of(key: str) -> Any:
    return or_(feedback.c.who == key, feedback.c.speaker == key)
