"""Saved recordings: rows and files are added and deleted together.

The row is locked while its file is written or deleted. ``delete_orphan_files`` and
``delete_missing_rows`` repair what a killed process leaves.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Connection, delete, func, select

from earful.service.feedback.audio_files import RecordingStore
from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.records import StoredRecording
from earful.service.feedback.tables import recordings_table, timestamp

_MAX_NAMES_PER_QUERY = 500
RECORDING_COLUMNS = tuple(recordings_table.c[field.name] for field in fields(StoredRecording))


def store_recordings(
    connection: Connection,
    database: FeedbackDatabase,
    recording_store: RecordingStore,
    recordings: Mapping[str, tuple[StoredRecording, bytes]],
    *,
    durable: bool = True,
) -> None:
    """Save recordings, keyed by SHA-256; one that exists gets a new ``saved_at``.

    Raises:
        DatabaseUnavailable: a file cannot be written; roll the transaction back.
    """
    # Sorted, so that two transactions that save the same recordings cannot deadlock.
    ordered = [recordings[name] for name in sorted(recordings)]
    now = timestamp()
    rows = [asdict(clip) | {"saved_at": now} for clip, _ in ordered]
    connection.execute(database.upsert(recordings_table, rows))
    for clip, blob in ordered:
        recording_store.write(clip.sha256, clip.suffix, blob, durable=durable)


def delete_recordings(
    connection: Connection, recording_store: RecordingStore, names: Sequence[str]
) -> tuple[int, int]:
    """Delete recordings by SHA-256; returns (number deleted, their bytes).

    Raises:
        DatabaseUnavailable: a file cannot be deleted; roll the transaction back.
    """
    count, n_bytes = 0, 0
    for names_batch in name_batches(names):
        matching = recordings_table.c.sha256.in_(names_batch)
        deleted = (
            delete(recordings_table)
            .where(matching)
            .returning(
                recordings_table.c.sha256, recordings_table.c.suffix, recordings_table.c.n_bytes
            )
        )
        for sha256, suffix, size in connection.execute(deleted).all():
            recording_store.remove(sha256, suffix)
            count, n_bytes = count + 1, n_bytes + size
    return count, n_bytes


def find_recording(database: FeedbackDatabase, sha256: str) -> StoredRecording | None:
    """The saved recording with this SHA-256, or None."""
    with database.read_transaction() as connection:
        row = connection.execute(
            select(*RECORDING_COLUMNS).where(recordings_table.c.sha256 == sha256)
        ).one_or_none()
    return None if row is None else StoredRecording(*row)


def find_recordings(connection: Connection, names: Iterable[str]) -> list[Any]:
    """The rows of the saved ones among recordings, given and sorted by SHA-256."""
    rows: list[Any] = []
    for names_batch in name_batches(names):
        query = (
            select(recordings_table)
            .where(recordings_table.c.sha256.in_(names_batch))
            .order_by(recordings_table.c.sha256)
        )
        rows += connection.execute(query).all()
    return rows


def name_batches(names: Iterable[str]) -> Iterator[list[str]]:
    """Unique, sorted names in batches of ``_MAX_NAMES_PER_QUERY`` (databases limit parameters)."""
    ordered = sorted(set(names))
    for first in range(0, len(ordered), _MAX_NAMES_PER_QUERY):
        yield ordered[first : first + _MAX_NAMES_PER_QUERY]


def count_recordings(connection: Connection) -> tuple[int, int]:
    """(number of saved recordings, their bytes)."""
    count, n_bytes = connection.execute(
        select(func.count(), func.coalesce(func.sum(recordings_table.c.n_bytes), 0)).select_from(
            recordings_table
        )
    ).one()
    return int(count), int(n_bytes)


def delete_orphan_files(database: FeedbackDatabase, recording_store: RecordingStore) -> int:
    """Delete files without a row, left by a killed process; returns their number."""
    orphans = 0
    for path in recording_store.complete_files():
        with database.write_transaction(path.stem) as connection:
            row = connection.execute(
                select(recordings_table.c.suffix).where(recordings_table.c.sha256 == path.stem)
            ).one_or_none()
            if row is None or f".{row.suffix}" != path.suffix:
                path.unlink(missing_ok=True)
                orphans += 1
    return orphans


def delete_missing_rows(database: FeedbackDatabase, recording_store: RecordingStore) -> int:
    """Delete rows whose files are missing; returns their number.

    Only on request: the files may be on a disk that is not mounted.
    """
    with database.read_transaction() as connection:
        rows = connection.execute(
            select(recordings_table.c.sha256, recordings_table.c.suffix)
        ).all()
    missing = [row for row in rows if not recording_store.path(row.sha256, row.suffix).exists()]
    for row in missing:
        with database.write_transaction(row.sha256) as connection:
            if not recording_store.path(row.sha256, row.suffix).exists():  # may be saved again
                connection.execute(
                    delete(recordings_table).where(recordings_table.c.sha256 == row.sha256)
                )
    return len(missing)
