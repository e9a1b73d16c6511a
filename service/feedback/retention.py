"""What is too old or too much is deleted: recordings without a label first, labels by age alone."""

from datetime import UTC, datetime, timedelta

from sqlalchemy import Select, delete, exists, select

from earful.service.feedback.audio_files import AudioStore
from earful.service.feedback.database import Store
from earful.service.feedback.recording_rows import held, remove
from earful.service.feedback.records import Retention, Swept
from earful.service.feedback.tables import clips, current_votes, feedback, stamp

# To one transaction: others wait for it.
BATCH = 200


def sweep(store: Store, audio: AudioStore, limits: Retention) -> Swept:
    """Delete what is beyond the limits, a batch at a time.

    Raises:
        StoreUnavailable: the database or a file cannot be written; what came before is deleted.
    """
    expired, freed, labels = 0, 0, 0
    if limits.days:
        # Before the first year there is nothing, and no date either.
        days = min(limits.days, 365_000)
        oldest = stamp(datetime.now(UTC) - timedelta(days=days))
        expired, freed = _remove_all(
            store, audio, select(clips.c.sha256).where(clips.c.kept_at < oldest)
        )
        with store.writing() as connection:
            old = delete(feedback).where(feedback.c.created_at < oldest)
            labels = connection.execute(old).rowcount
    crowded_out, more = _make_room(store, audio, limits.max_audio_bytes)
    found = Swept(expired, crowded_out, freed + more, labels)
    if found:
        store.forget_journal()
    return found


def _remove_all(store: Store, audio: AudioStore, old: Select[tuple[str]]) -> tuple[int, int]:
    count, freed = 0, 0
    while True:
        with store.writing() as connection:
            names = [str(name) for name in connection.scalars(old.limit(BATCH))]
            gone, n_bytes = remove(connection, audio, names)
        if not gone:
            return count, freed
        count, freed = count + gone, freed + n_bytes


def _make_room(store: Store, audio: AudioStore, max_bytes: int) -> tuple[int, int]:
    """Those without a label first, and of each kind the oldest."""
    votes = current_votes()
    labelled = exists().where(votes.c.sha256 == clips.c.sha256)
    order = select(clips.c.sha256, clips.c.n_bytes).order_by(labelled, clips.c.kept_at)
    count, freed = 0, 0
    while max_bytes:
        with store.writing() as connection:
            too_many = held(connection)[1] - max_bytes
            names = []
            for sha256, n_bytes in connection.execute(order.limit(BATCH)) if too_many > 0 else ():
                if too_many <= 0:
                    break
                names.append(sha256)
                too_many -= n_bytes
            gone, n_bytes = remove(connection, audio, names)
        if not gone:
            break
        count, freed = count + gone, freed + n_bytes
    return count, freed
