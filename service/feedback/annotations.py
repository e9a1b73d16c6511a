"""What people say: rows are added and never changed; the last one of each about a clip counts."""

from typing import Any

from sqlalchemy import Connection, select

from earful.service.feedback.database import Store
from earful.service.feedback.records import KeyReused, Opinion, Stored
from earful.service.feedback.tables import clips, feedback, stamp


def add(connection: Connection, opinion: Opinion) -> Stored:
    """Store an opinion, in a transaction of ``store.writing(opinion.who)``.

    Said again with nothing new in it, or sent again under the same ``request_key``, it is stored
    once.

    Raises:
        KeyReused: the key came before with another opinion.
    """
    kept = connection.execute(select(clips.c.sha256).where(clips.c.sha256 == opinion.sha256))
    audio_kept = kept.one_or_none() is not None
    earlier = _earlier(connection, opinion)
    if earlier is not None:
        return Stored(earlier, opinion.sha256, True, audio_kept)
    added = connection.execute(feedback.insert().values(**_row(opinion)).returning(feedback.c.id))
    return Stored(int(added.scalar_one()), opinion.sha256, False, audio_kept)


def add_alone(store: Store, opinion: Opinion) -> Stored:
    """``add`` in a transaction of its own.

    Raises:
        KeyReused: as ``add``.
        StoreUnavailable: the database cannot be written.
    """
    with store.writing(opinion.who) as connection:
        return add(connection, opinion)


def _earlier(connection: Connection, opinion: Opinion) -> int | None:
    """The row that says the same already."""
    mine = select(feedback).where(feedback.c.who == opinion.who)
    if opinion.request_key is not None:
        sent = connection.execute(
            mine.where(feedback.c.request_key == opinion.request_key)
        ).one_or_none()
        if sent is not None:
            if (sent.sha256, sent.label) != (opinion.sha256, opinion.label):
                raise KeyReused
            return int(sent.id)
    about = mine.where(feedback.c.sha256 == opinion.sha256).order_by(feedback.c.id.desc())
    last = connection.execute(about.limit(1)).one_or_none()
    if last is None or last.label != opinion.label:
        return None
    news = (opinion.speaker and opinion.speaker != last.speaker) or (
        opinion.comment and opinion.comment != last.comment
    )
    return None if news else int(last.id)


def _row(opinion: Opinion) -> dict[str, Any]:
    heard = opinion.heard
    return {
        "sha256": opinion.sha256,
        "who": opinion.who,
        "label": opinion.label,
        "speaker": opinion.speaker,
        "comment": opinion.comment,
        "source": opinion.source,
        "heard_label": heard.label if heard else "",
        "heard_score": heard.score if heard else None,
        "model_name": heard.model_name if heard else "",
        "model_version": heard.model_version if heard else "",
        "request_key": opinion.request_key,
        "created_at": stamp(),
    }
