"""Active learning queue: disputed clips first, then unlabelled ones by uncertainty."""

import contextlib
import json
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Select, Subquery, and_, case, func, or_, select

from earful.data.text.json_input import parse_json
from earful.service.feedback.audio_files import SHA256
from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.recording_rows import RECORDING_COLUMNS
from earful.service.feedback.records import ReviewItem, ReviewPage, StoredRecording
from earful.service.feedback.tables import annotations_table, current_annotations, recordings_table

# Ranks, in the order of the queue.
DISPUTED, UNLABELLED, AGREED = 0, 1, 2


def next_clips(
    database: FeedbackDatabase, annotator: str, limit: int, cursor: str = ""
) -> ReviewPage:
    """The next clips for an annotator, without those that they have labelled.

    First clips where annotators disagree with one another or with the model, then unlabelled ones,
    then the rest; within each group the smallest score margin first.

    Raises:
        ValueError: ``cursor`` is not from a review page.
        DatabaseUnavailable: the database cannot be read.
    """
    remaining = _unlabelled_by(current_annotations(), annotator)
    query = select(remaining).order_by(remaining.c.rank, remaining.c.margin, remaining.c.sha256)
    if cursor:
        query = _after_cursor(query, remaining, cursor)
    with database.read_transaction() as connection:
        rows = connection.execute(query.limit(limit)).all()
        label_count_rows = _label_counts_of(connection, [row.sha256 for row in rows])
        labelled, total = _counts(connection, annotator)
        all_labels = connection.scalars(select(annotations_table.c.label).distinct()).all()
    items = tuple(_item(row, label_count_rows) for row in rows)
    position = json.dumps([rows[-1].rank, rows[-1].margin, rows[-1].sha256]) if rows else ""
    next_cursor = position if len(rows) == limit else ""
    return ReviewPage(
        items=items,
        cursor=next_cursor,
        remaining=total - labelled,
        labelled=labelled,
        labels=tuple(filter(None, all_labels)),
    )


def _label_counts_of(connection: Connection, names: Sequence[str]) -> Sequence[Any]:
    """(SHA-256, label, number of annotators) of the recordings."""
    annotations = current_annotations(annotations_table.c.sha256.in_(names))
    grouped = (annotations.c.sha256, annotations.c.label)
    return connection.execute(select(*grouped, func.count()).group_by(*grouped)).all()


def _counts(connection: Connection, annotator: str) -> tuple[int, int]:
    """(saved clips that the annotator has labelled, all saved clips)."""
    own_annotations = current_annotations(annotations_table.c.annotator == annotator)
    own = select(func.count()).join_from(
        recordings_table, own_annotations, recordings_table.c.sha256 == own_annotations.c.sha256
    )
    total = connection.scalar(select(func.count()).select_from(recordings_table))
    return int(connection.scalar(own) or 0), int(total or 0)


def _unlabelled_by(annotations: Subquery, annotator: str) -> Subquery:
    """The clips that the annotator has not labelled, with their rank as the last column."""
    counts_by_clip = (
        select(
            annotations.c.sha256,
            func.count(annotations.c.label.distinct()).label("labels"),
            func.min(annotations.c.label).label("label"),
            func.max(case((annotations.c.annotator == annotator, 1), else_=0)).label(
                "own_annotations"
            ),
        )
        .group_by(annotations.c.sha256)
        .subquery()
    )
    rank = case(
        (counts_by_clip.c.labels.is_(None), UNLABELLED),
        (
            or_(
                counts_by_clip.c.labels > 1,
                counts_by_clip.c.label != recordings_table.c.predicted_label,
            ),
            DISPUTED,
        ),
        else_=AGREED,
    )
    return (
        select(*RECORDING_COLUMNS, rank.label("rank"))
        .join_from(
            recordings_table,
            counts_by_clip,
            recordings_table.c.sha256 == counts_by_clip.c.sha256,
            isouter=True,
        )
        .where(func.coalesce(counts_by_clip.c.own_annotations, 0) == 0)
        .subquery()
    )


def _after_cursor(query: Select[Any], remaining: Subquery, cursor: str) -> Select[Any]:
    rank, margin, sha256 = _parse_cursor(cursor)
    same_rank = remaining.c.rank == rank
    return query.where(
        or_(
            remaining.c.rank > rank,
            and_(same_rank, remaining.c.margin > margin),
            and_(same_rank, remaining.c.margin == margin, remaining.c.sha256 > sha256),
        )
    )


def _parse_cursor(cursor: str) -> tuple[int, float, str]:
    with contextlib.suppress(ValueError):
        rank, margin, sha256 = parse_json(tuple[int, float, str], cursor)
        if rank in (DISPUTED, UNLABELLED, AGREED) and SHA256.fullmatch(sha256):
            return rank, margin, sha256
    raise ValueError("`cursor` must be the cursor of an earlier response")


def _item(row: Any, label_count_rows: Sequence[Any]) -> ReviewItem:
    label_counts = {
        label: count for sha256, label, count in label_count_rows if sha256 == row.sha256
    }
    return ReviewItem(StoredRecording(*row[:-1]), int(row.rank), label_counts)
