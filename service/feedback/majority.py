"""Several people's labels of a recording to one: the last of each person, then the majority."""

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
    """What people say of one recording.

    sha256         of the recording's bytes
    label          that of the majority; empty in a tie
    speaker        the last one named by those who gave that label; empty when nobody did
    annotators     everyone whose label counts, in the order in which they gave it
    votes          how many of them gave this label
    disagreeing    a tie: there is no label, and the recording is not for training
    heard_label    what the model had heard, when the last of them answered
    model_version  which model that was
    created_at     when the last of them answered: ISO 8601, UTC
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
    """A label for each recording that somebody has labelled, ties among them, by SHA-256.

    Raises:
        StoreUnavailable: the database cannot be read.
    """
    annotations = current_annotations()
    with database.read_transaction() as connection:
        rows = connection.execute(
            select(annotations).order_by(annotations.c.sha256, annotations.c.id)
        ).all()
    return [_resolve(list(group)) for _, group in groupby(rows, key=lambda row: row.sha256)]


def _resolve(rows: Sequence[Any]) -> ResolvedLabel:
    """Of one recording's rows, in the order in which they came."""
    (label, n_votes), *runners_up = Counter(row.label for row in rows).most_common(2)
    tie = bool(runners_up) and runners_up[0][1] == n_votes
    agreeing = [] if tie else [row for row in rows if row.label == label]
    speakers = [row.speaker for row in agreeing if row.speaker]
    return ResolvedLabel(
        sha256=rows[0].sha256,
        label="" if tie else label,
        speaker=speakers[-1] if speakers else "",
        annotators=tuple(row.annotator for row in rows),
        n_votes=n_votes,
        is_tie=tie,
        predicted_label=rows[-1].predicted_label,
        model_version=rows[-1].model_version,
        created_at=rows[-1].created_at,
    )
