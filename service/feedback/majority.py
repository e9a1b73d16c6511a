"""Resolves the annotators' labels of a recording: the last of each annotator, then the majority."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from sqlalchemy import select

from earful.data.labels.multilabel import find_label_problem, split_labels
from earful.models.bundle.decision import names_rejection
from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.tables import current_annotations

# In ``VoteRules.trust``: everyone.
TRUST_ALL = "all"


@dataclass(frozen=True)
class VoteRules:
    """Whose labels count, and which.

    trust         annotators whose labels count more than all others', or ``TRUST_ALL``
    known_labels  labels of the model; with them, the name of a rejected clip is no label unless
                  the model has it
    """

    trust: frozenset[str] = frozenset()
    known_labels: frozenset[str] | None = None

    def is_usable(self, label: str) -> bool:
        """Whether a stored label can be trained on; older programs stored others too."""
        if not label.strip() or find_label_problem(label) is not None:
            return False
        known = self.known_labels
        return known is None or not any(
            names_rejection(part) and part not in known for part in split_labels(label)
        )


EVERY_VOTE = VoteRules()


@dataclass(frozen=True)
class ResolvedLabel:
    """The resolved label of one recording.

    sha256           of the recording's bytes
    label            the majority label; empty in a tie, and if no label is usable
    speaker          the last speaker given with that label; empty when there is none
    annotators       all annotators whose labels count, in the order of their annotations
    agreeing         those of them who gave the label
    is_tie           no majority: no label, not used for training
    is_trusted       a trusted annotator gave the label, or two annotators of different senders did:
                     it may overrule a curated label
    unusable         labels that were left out
    created_at       time of the last annotation: ISO 8601, UTC
    """

    sha256: str
    label: str
    speaker: str
    annotators: tuple[str, ...]
    agreeing: tuple[str, ...]
    is_tie: bool
    is_trusted: bool
    unusable: tuple[str, ...]
    created_at: str


def resolved_labels(
    database: FeedbackDatabase, rules: VoteRules = EVERY_VOTE
) -> list[ResolvedLabel]:
    """The resolved label of every annotated recording, ties included, sorted by SHA-256.

    Raises:
        DatabaseUnavailable: the database cannot be read.
    """
    annotations = current_annotations()
    with database.read_transaction() as connection:
        rows = connection.execute(
            select(annotations).order_by(annotations.c.sha256, annotations.c.id)
        ).all()
    return [_resolve(list(group), rules) for _, group in groupby(rows, key=lambda row: row.sha256)]


def _resolve(rows: Sequence[Any], rules: VoteRules) -> ResolvedLabel:
    """Resolve the rows of one recording, oldest first."""
    usable = [row for row in rows if rules.is_usable(row.label)]
    # Names are free: without this, three invented ones would outvote a trusted annotator.
    named = rules.trust - {TRUST_ALL}  # somebody may call themselves so
    counted = [row for row in usable if row.annotator in named] or usable
    label, is_tie = _majority(counted)
    agreeing = [row for row in counted if row.label == label]
    speakers = [row.speaker for row in agreeing if row.speaker]
    return ResolvedLabel(
        sha256=rows[0].sha256,
        label=label,
        speaker=speakers[-1] if speakers else "",
        annotators=tuple(row.annotator for row in counted),
        agreeing=tuple(row.annotator for row in agreeing),
        is_tie=is_tie,
        is_trusted=_is_trusted(agreeing, rules),
        unusable=tuple(row.label for row in rows if not rules.is_usable(row.label)),
        created_at=rows[-1].created_at,
    )


def _majority(rows: Sequence[Any]) -> tuple[str, bool]:
    """(the label that most rows have, whether two have as many); an empty label in a tie."""
    ranked = Counter(row.label for row in rows).most_common(2)
    if len(ranked) == 2 and ranked[0][1] == ranked[1][1]:
        return "", True
    return (ranked[0][0] if ranked else ""), False


def _is_trusted(agreeing: Sequence[Any], rules: VoteRules) -> bool:
    names = {row.annotator for row in agreeing}
    if names & rules.trust or (names and TRUST_ALL in rules.trust):
        return True
    return len(names) > 1 and len({row.sender for row in agreeing} - {""}) > 1
