"""What is kept of one person: shown to them, and deleted, by the key that stands for them."""

from typing import Any

from sqlalchemy import Connection, delete, or_, select

from earful.service.feedback.audio_files import RecordingStore
from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.recording_rows import delete_recordings, find_recordings, name_batches
from earful.service.feedback.records import ErasureResult, SubjectData
from earful.service.feedback.tables import annotations_table


def export_subject_data(database: FeedbackDatabase, key: str) -> SubjectData:
    """All that is kept of a person.

    Raises:
        StoreUnavailable: the database cannot be read.
    """
    with database.read_transaction() as connection:
        found = (
            select(annotations_table).where(_concerns_subject(key)).order_by(annotations_table.c.id)
        )
        rows = [dict(row) for row in connection.execute(found).mappings()]
        recordings = find_recordings(connection, (row["sha256"] for row in rows))
    for row in rows:
        del row["idempotency_key"]
    return SubjectData(tuple(rows), tuple(row._asdict() for row in recordings))


def erase_subject(
    database: FeedbackDatabase, recording_store: RecordingStore, key: str
) -> ErasureResult:
    """Delete a person's rows and recordings, in one transaction.

    A recording in which they speak goes in any case. One that they have only labelled goes when
    nobody else's rows are about it.

    Raises:
        StoreUnavailable: the database or a file cannot be written; nothing is deleted.
    """
    with database.write_transaction() as connection:
        deleted = delete(annotations_table).where(_concerns_subject(key))
        rows = connection.execute(
            deleted.returning(annotations_table.c.sha256, annotations_table.c.speaker)
        ).all()
        as_speaker = {row.sha256 for row in rows if row.speaker == key}
        labelled = {row.sha256 for row in rows} - as_speaker
        others = _named_by_others(connection, labelled)
        clips, n_bytes = delete_recordings(
            connection, recording_store, [*as_speaker, *(labelled - others)]
        )
    database.truncate_journal()
    return ErasureResult(len(rows), clips, n_bytes)


def _named_by_others(connection: Connection, names: set[str]) -> set[str]:
    """Those of the recordings that rows are about."""
    found: set[str] = set()
    for names_batch in name_batches(names):
        about = (
            select(annotations_table.c.sha256)
            .where(annotations_table.c.sha256.in_(names_batch))
            .distinct()
        )
        found.update(connection.scalars(about))
    return found


def _concerns_subject(key: str) -> Any:
    return or_(annotations_table.c.annotator == key, annotations_table.c.speaker == key)
