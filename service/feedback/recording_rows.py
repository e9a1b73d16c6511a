"""Recordings that are kept: put in and taken out together with their files.

A row's lock is held while its file is written or deleted, so that neither is there without the
other; what a killed process leaves between the two, ``mend`` finds.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields
from typing import Any

from sqlalchemy import Connection, delete, func, select

from earful.service.feedback.audio_files import AudioStore
from earful.service.feedback.database import Store
from earful.service.feedback.records import KeptClip
from earful.service.feedback.tables import clips, stamp

_CHUNK = 500
KEPT_COLUMNS = tuple(clips.c[field.name] for field in fields(KeptClip))


def keep(
    connection: Connection, store: Store, audio: AudioStore,
    recordings: Mapping[str, tuple[KeptClip, bytes]], *, durable: bool = True,
) -> None:  # fmt: skip
    """Keep recordings, by their SHA-256; one that is there is from now on as old as today.

    Raises:
        StoreUnavailable: a file cannot be written; the transaction is to be given up.
    """
    # In order, so that two who keep the same ones do not wait for each other.
    ordered = [recordings[name] for name in sorted(recordings)]
    now = stamp()
    rows = [asdict(clip) | {"kept_at": now} for clip, _ in ordered]
    connection.execute(store.upsert(clips, rows))
    for clip, blob in ordered:
        audio.put(clip.sha256, clip.suffix, blob, durable=durable)


def remove(connection: Connection, audio: AudioStore, names: Sequence[str]) -> tuple[int, int]:
    """Delete recordings by their SHA-256; (how many were there, their bytes).

    Raises:
        StoreUnavailable: a file cannot be deleted; the transaction is to be given up.
    """
    count, n_bytes = 0, 0
    for some in chunks(names):
        these = clips.c.sha256.in_(some)
        gone = delete(clips).where(these).returning(clips.c.sha256, clips.c.suffix, clips.c.n_bytes)
        for sha256, suffix, size in connection.execute(gone).all():
            audio.remove(sha256, suffix)
            count, n_bytes = count + 1, n_bytes + size
    return count, n_bytes


def find(store: Store, sha256: str) -> KeptClip | None:
    """The recording with a SHA-256, if it is kept."""
    with store.reading() as connection:
        row = connection.execute(
            select(*KEPT_COLUMNS).where(clips.c.sha256 == sha256)
        ).one_or_none()
    return None if row is None else KeptClip(*row)


def kept_among(connection: Connection, names: Iterable[str]) -> list[Any]:
    """The rows of those recordings that are kept, in order of their SHA-256."""
    rows: list[Any] = []
    for some in chunks(names):
        wanted = select(clips).where(clips.c.sha256.in_(some)).order_by(clips.c.sha256)
        rows += connection.execute(wanted).all()
    return rows


def chunks(names: Iterable[str]) -> Iterator[list[str]]:
    """The names once each, in order, as many at a time as a statement may have parameters."""
    ordered = sorted(set(names))
    for first in range(0, len(ordered), _CHUNK):
        yield ordered[first : first + _CHUNK]


def held(connection: Connection) -> tuple[int, int]:
    """(recordings, their bytes) of all that is kept."""
    count, n_bytes = connection.execute(
        select(func.count(), func.coalesce(func.sum(clips.c.n_bytes), 0)).select_from(clips)
    ).one()
    return int(count), int(n_bytes)


def mend(store: Store, audio: AudioStore) -> int:
    """Delete files that no row knows, of what a killed process left; how many."""
    strays = 0
    for path in audio.settled():
        with store.writing(path.stem) as connection:
            row = connection.execute(
                select(clips.c.suffix).where(clips.c.sha256 == path.stem)
            ).one_or_none()
            if row is None or f".{row.suffix}" != path.suffix:
                path.unlink(missing_ok=True)
                strays += 1
    return strays


def forget_missing(store: Store, audio: AudioStore) -> int:
    """Delete the rows whose files are gone; how many. Not by itself: a disk may be away."""
    with store.reading() as connection:
        rows = connection.execute(select(clips.c.sha256, clips.c.suffix)).all()
    missing = [row for row in rows if not audio.path(row.sha256, row.suffix).exists()]
    for row in missing:
        with store.writing(row.sha256) as connection:
            if not audio.path(row.sha256, row.suffix).exists():  # it may have come back
                connection.execute(delete(clips).where(clips.c.sha256 == row.sha256))
    return len(missing)
