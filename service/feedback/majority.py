"""Resolves the annotators' labels of a recording: the last of each annotator, then the majority."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import select

from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.tables import current_annotations


@dataclass(frozen=True)
class ResolvedLabel:
    """The resolved label of one recording.

    sha256           of the recording's bytes
    label            the majority label; empty in a tie
    speaker          the last speaker given with that label; empty when there is none
    annotators       all annotators whose labels count, in the order of their annotations
    n_votes          number of annotators who gave the label
    is_tie           no majority: no label, not used for training
    predicted_label  the model's prediction at the last annotation
    model_version    version of that model
    created_at       time of the last annotation: ISO 8601, UTC
    """

    sha256: str
    label: str
    speaker: str
    annotators: tuple[str, ...]
    n_votes: int
    is_tie: bool
    predicted_label: str
    model_version: str
    created_at: str


def resolved_labels(database: FeedbackDatabase) -> list[ResolvedLabel]:
    """The resolved label of every annotated recording, ties included, sorted by SHA-256.

    Raises:
        DatabaseUnavailable: the database cannot be read.
    """
    annotations = current_annotations()
    with database.read_transaction() as connection:
        rows = connection.execute(
            select(annotations).order_by(annotations.c.sha256, annotations.c.id)
        ).all()
    return [_resolve(list(group)) for _, group in groupby(rows, key=lambda row: row.sha256)]


def _resolve(rows: Sequence[Any]) -> ResolvedLabel:
    """Resolve the rows of one recording, oldest first."""
    (label, n_votes), *runners_up = Counter(row.label for row in rows).most_common(2)
    is_tie = bool(runners_up) and runners_up[0][1] == n_votes
    agreeing = [] if is_tie else [row for row in rows if row.label == label]
    speakers = [row.speaker for row in agreeing if row.speaker]
    return ResolvedLabel(
        sha256=rows[0].sha256,
        label="" if is_tie else label,
        speaker=speakers[-1] if speakers else "",
        annotators=tuple(row.annotator for row in rows),
        n_votes=n_votes,
        is_tie=is_tie,
        predicted_label=rows[-1].predicted_label,
        model_version=rows[-1].model_version,
        created_at=rows[-1].created_at,
    )
