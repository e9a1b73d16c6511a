"""Which clips to label next: where people or the model disagree, then where the model is unsure."""

import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, Subquery, and_, case, func, or_, select

from earful.service.feedback.audio_files import SHA256
from earful.service.feedback.database import Store
from earful.service.feedback.recording_rows import KEPT_COLUMNS
from earful.service.feedback.records import KeptClip, ReviewItem, ReviewPage
from earful.service.feedback.tables import clips, current_votes, feedback

# In the order in which they are offered.
DISAGREEING, UNLABELLED, AGREED = 0, 1, 2


def next_clips(store: Store, who: str, limit: int, after: str = "") -> ReviewPage:
    """The next clips for a person, without those that they have labelled.

    First what people disagree about, with one another or with the model; then what nobody has
    labelled, and then the rest, each with the least margin of the model's scores first.

    Raises:
        ValueError: ``after`` is of no page.
        StoreUnavailable: the database cannot be read.
    """
    waiting = _waiting(current_votes(), who)
    wanted = select(waiting).order_by(waiting.c.rank, waiting.c.margin, waiting.c.sha256)
    if after:
        wanted = _behind(wanted, waiting, after)
    with store.reading() as connection:
        rows = connection.execute(wanted.limit(limit)).all()
        counted = _votes_of(connection, [row.sha256 for row in rows])
        labelled, total = _counts(connection, who)
        given = connection.scalars(select(feedback.c.label).distinct()).all()
    items = tuple(_item(row, counted) for row in rows)
    position = json.dumps([rows[-1].rank, rows[-1].margin, rows[-1].sha256]) if rows else ""
    behind = position if len(rows) == limit else ""
    return ReviewPage(items, behind, total - labelled, labelled, tuple(filter(None, given)))


def _votes_of(connection: Connection, names: Sequence[str]) -> Sequence[Any]:
    """(SHA-256, label, how many gave it) of some recordings."""
    votes = current_votes(feedback.c.sha256.in_(names))
    grouped = (votes.c.sha256, votes.c.label)
    return connection.execute(select(*grouped, func.count()).group_by(*grouped)).all()


def _counts(connection: Connection, who: str) -> tuple[int, int]:
    """How many of the kept clips a person has labelled, and how many there are."""
    mine = current_votes(feedback.c.who == who)
    own = select(func.count()).join_from(clips, mine, clips.c.sha256 == mine.c.sha256)
    total = connection.scalar(select(func.count()).select_from(clips))
    return int(connection.scalar(own) or 0), int(total or 0)


def _waiting(votes: Subquery, who: str) -> Subquery:
    """The clips that a person has not labelled, with the rank of each as the last column."""
    tally = (
        select(
            votes.c.sha256,
            func.count(votes.c.label.distinct()).label("labels"),
            func.min(votes.c.label).label("label"),
            func.max(case((votes.c.who == who, 1), else_=0)).label("mine"),
        )
        .group_by(votes.c.sha256)
        .subquery()
    )
    rank = case(
        (tally.c.labels.is_(None), UNLABELLED),
        (or_(tally.c.labels > 1, tally.c.label != clips.c.heard_label), DISAGREEING),
        else_=AGREED,
    )
    return (
        select(*KEPT_COLUMNS, rank.label("rank"))
        .join_from(clips, tally, clips.c.sha256 == tally.c.sha256, isouter=True)
        .where(func.coalesce(tally.c.mine, 0) == 0)
        .subquery()
    )


def _behind(wanted: Select[Any], waiting: Subquery, after: str) -> Select[Any]:
    rank, margin, sha256 = _position(after)
    same_rank = waiting.c.rank == rank
    return wanted.where(
        or_(
            waiting.c.rank > rank,
            and_(same_rank, waiting.c.margin > margin),
            and_(same_rank, waiting.c.margin == margin, waiting.c.sha256 > sha256),
        )
    )


def _position(after: str) -> tuple[int, float, str]:
    try:
        rank, margin, sha256 = json.loads(after)
        if rank in (DISAGREEING, UNLABELLED, AGREED) and SHA256.fullmatch(sha256):
            return int(rank), float(margin), sha256
    except (ValueError, TypeError, OverflowError, RecursionError):
        pass
    raise ValueError("`after` is what an earlier answer gave")


def _item(row: Any, counted: Sequence[Any]) -> ReviewItem:
    votes = {label: count for sha256, label, count in counted if sha256 == row.sha256}
    return ReviewItem(KeptClip(*row[:-1]), int(row.rank), votes)
