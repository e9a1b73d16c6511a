"""Deletes old recordings and annotations, and recordings over the size limit, unlabelled first."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Select, delete, exists, select

from earful.service.feedback.audio_files import RecordingStore
from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.recording_rows import count_recordings, delete_recordings
from earful.service.feedback.records import RetentionLimits, RetentionResult
from earful.service.feedback.tables import (
    annotations_table,
    current_annotations,
    recordings_table,
    timestamp,
)

# Recordings per transaction: other writers wait for it.
BATCH = 200


def apply_retention(
    database: FeedbackDatabase, recording_store: RecordingStore, limits: RetentionLimits
) -> RetentionResult:
    """Delete what exceeds the limits, in batches.

    Raises:
        DatabaseUnavailable: the database or a file cannot be written; earlier batches stay deleted.
    """
    expired, freed, labels = 0, 0, 0
    if limits.days:
        days = min(limits.days, 365_000)  # a datetime cannot go back further
        oldest = timestamp(datetime.now(UTC) - timedelta(days=days))
        expired, freed = _delete_in_batches(
            database,
            recording_store,
            select(recordings_table.c.sha256).where(recordings_table.c.saved_at < oldest),
        )
        with database.write_transaction() as connection:
            old = delete(annotations_table).where(annotations_table.c.created_at < oldest)
            labels = connection.execute(old).rowcount
    evicted, freed_by_eviction = _evict_over_limit(
        database, recording_store, limits.max_recordings_bytes
    )
    result = RetentionResult(expired, evicted, freed + freed_by_eviction, labels)
    if result:
        database.truncate_journal()
    return result


def _delete_in_batches(
    database: FeedbackDatabase, recording_store: RecordingStore, query: Select[tuple[str]]
) -> tuple[int, int]:
    """Delete the recordings that a query of SHA-256 selects; returns (number, bytes)."""
    count, freed = 0, 0
    while True:
        with database.write_transaction() as connection:
            names = [str(name) for name in connection.scalars(query.limit(BATCH))]
            deleted, n_bytes = delete_recordings(connection, recording_store, names)
        if not deleted:
            return count, freed
        count, freed = count + deleted, freed + n_bytes


def _evict_over_limit(
    database: FeedbackDatabase, recording_store: RecordingStore, max_bytes: int
) -> tuple[int, int]:
    """Delete recordings down to ``max_bytes``: unlabelled ones first, then by age, oldest first."""
    annotations = current_annotations()
    labelled = exists().where(annotations.c.sha256 == recordings_table.c.sha256)
    order = select(recordings_table.c.sha256, recordings_table.c.n_bytes).order_by(
        labelled, recordings_table.c.saved_at
    )
    count, freed = 0, 0
    while max_bytes:
        with database.write_transaction() as connection:
            excess_bytes = count_recordings(connection)[1] - max_bytes
            names = []
            for sha256, n_bytes in (
                connection.execute(order.limit(BATCH)) if excess_bytes > 0 else ()
            ):
                if excess_bytes <= 0:
                    break
                names.append(sha256)
                excess_bytes -= n_bytes
            deleted, n_bytes = delete_recordings(connection, recording_store, names)
        if not deleted:
            break
        count, freed = count + deleted, freed + n_bytes
    return count, freed
