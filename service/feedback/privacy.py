"""Export and deletion of one person's data, by the key that names them in annotations."""

from typing import Any

from sqlalchemy import Connection, delete, or_, select

from earful.service.feedback.audio_files import RecordingStore
from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.recording_rows import delete_recordings, find_recordings, name_batches
from earful.service.feedback.records import ErasureResult, SubjectData
from earful.service.feedback.tables import annotations_table


def export_subject_data(database: FeedbackDatabase, key: str) -> SubjectData:
    """Annotations by or about a person, and the saved recordings they belong to.

    Raises:
        DatabaseUnavailable: the database cannot be read.
    """
    with database.read_transaction() as connection:
        query = (
            select(annotations_table).where(_concerns_subject(key)).order_by(annotations_table.c.id)
        )
        rows = [dict(row) for row in connection.execute(query).mappings()]
        recordings = find_recordings(connection, (row["sha256"] for row in rows))
    for row in rows:
        del row["idempotency_key"], row["sender"]
    return SubjectData(tuple(rows), tuple(row._asdict() for row in recordings))


def erase_subject(
    database: FeedbackDatabase, recording_store: RecordingStore, key: str
) -> ErasureResult:
    """Delete a person's annotations and recordings in one transaction.

    A recording with them as speaker is always deleted; one that they only labelled is deleted
    unless other people have labelled it too.

    Raises:
        DatabaseUnavailable: the database or a file cannot be written; the transaction is undone.
    """
    with database.write_transaction() as connection:
        deleted = delete(annotations_table).where(_concerns_subject(key))
        rows = connection.execute(
            deleted.returning(annotations_table.c.sha256, annotations_table.c.speaker)
        ).all()
        as_speaker = {row.sha256 for row in rows if row.speaker == key}
        labelled = {row.sha256 for row in rows} - as_speaker
        still_labelled = _with_annotations(connection, labelled)
        clips, n_bytes = delete_recordings(
            connection, recording_store, [*as_speaker, *(labelled - still_labelled)]
        )
    database.truncate_journal()
    return ErasureResult(len(rows), clips, n_bytes)


def _with_annotations(connection: Connection, names: set[str]) -> set[str]:
    """The recordings, of those named, that have annotations."""
    annotated: set[str] = set()
    for names_batch in name_batches(names):
        query = (
            select(annotations_table.c.sha256)
            .where(annotations_table.c.sha256.in_(names_batch))
            .distinct()
        )
        annotated.update(connection.scalars(query))
    return annotated


def _concerns_subject(key: str) -> Any:
    return or_(annotations_table.c.annotator == key, annotations_table.c.speaker == key)
