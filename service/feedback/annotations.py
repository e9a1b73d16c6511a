"""Adds annotations. Rows are never changed: an annotator's last row about a recording counts."""

import math
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, select

from earful.service.feedback.records import (
    FeedbackAnnotation,
    IdempotencyKeyReused,
    SubmitResult,
    TooManyLabels,
)
from earful.service.feedback.tables import annotations_table, recordings_table, timestamp

_RATE_WINDOW = timedelta(hours=1)


def add_annotation(
    connection: Connection, annotation: FeedbackAnnotation, max_per_hour: int = 0
) -> SubmitResult:
    """Store an annotation in a transaction of ``database.write_transaction(annotator)``.

    A repeated annotation, or one with the same ``idempotency_key``, is stored once.
    ``max_per_hour`` is the most that one sender may add; 0 is no limit.

    Raises:
        IdempotencyKeyReused: the key was used before, with another annotation.
        TooManyLabels: the sender has added as many in the last hour.
    """
    saved = connection.execute(
        select(recordings_table.c.sha256).where(recordings_table.c.sha256 == annotation.sha256)
    )
    recording_saved = saved.one_or_none() is not None
    duplicate_id = _find_duplicate(connection, annotation)
    if duplicate_id is not None:
        return SubmitResult(duplicate_id, annotation.sha256, True, recording_saved)
    if max_per_hour and annotation.sender:
        _check_rate(connection, annotation.sender, max_per_hour)
    added = connection.execute(
        annotations_table.insert()
        .values(**_column_values(annotation))
        .returning(annotations_table.c.id)
    )
    return SubmitResult(int(added.scalar_one()), annotation.sha256, False, recording_saved)


def _check_rate(connection: Connection, sender: str, max_per_hour: int) -> None:
    created_at = annotations_table.c.created_at
    # Of the last ``max_per_hour`` the oldest: when it is an hour old, there is room for one more.
    of_sender = select(created_at).where(annotations_table.c.sender == sender)
    oldest = connection.scalar(
        of_sender.order_by(created_at.desc()).offset(max_per_hour - 1).limit(1)
    )
    if oldest is None:
        return
    wait = datetime.fromisoformat(oldest) + _RATE_WINDOW - datetime.now(UTC)
    # More than the window means that the clock was set back: that locks nobody out.
    if timedelta(0) < wait <= _RATE_WINDOW:
        raise TooManyLabels(math.ceil(wait.total_seconds()))


def _find_duplicate(connection: Connection, annotation: FeedbackAnnotation) -> int | None:
    """The id of an earlier row with the same key, or of the last row if nothing has changed."""
    by_annotator = select(annotations_table).where(
        annotations_table.c.annotator == annotation.annotator
    )
    if annotation.idempotency_key is not None:
        earlier = connection.execute(
            by_annotator.where(annotations_table.c.idempotency_key == annotation.idempotency_key)
        ).one_or_none()
        if earlier is not None:
            if (earlier.sha256, earlier.label) != (annotation.sha256, annotation.label):
                raise IdempotencyKeyReused
            return int(earlier.id)
    about_recording = by_annotator.where(annotations_table.c.sha256 == annotation.sha256).order_by(
        annotations_table.c.id.desc()
    )
    last = connection.execute(about_recording.limit(1)).one_or_none()
    if last is None or last.label != annotation.label:
        return None
    has_changes = (annotation.speaker and annotation.speaker != last.speaker) or (
        annotation.comment and annotation.comment != last.comment
    )
    return None if has_changes else int(last.id)


def _column_values(annotation: FeedbackAnnotation) -> dict[str, Any]:
    values = asdict(annotation)
    prediction = values.pop("prediction") or {}
    return values | {
        "predicted_label": prediction.get("label", ""),
        "predicted_score": prediction.get("score"),
        "model_name": prediction.get("model_name", ""),
        "model_version": prediction.get("model_version", ""),
        "created_at": timestamp(),
    }
