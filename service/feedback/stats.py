"""Statistics of the feedback database."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import func, select

from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.majority import resolved_labels
from earful.service.feedback.recording_rows import count_recordings
from earful.service.feedback.tables import annotations_table


@dataclass(frozen=True)
class FeedbackStats:
    """Statistics of the database.

    rows        annotations
    latest      time of the latest one: ISO 8601, UTC; empty without one
    annotators  annotations per annotator
    labels      recordings per majority label
    ties        recordings whose annotators disagree without a majority
    clips       saved recordings
    n_bytes     their size
    """

    rows: int
    latest: str
    annotators: dict[str, int]
    labels: dict[str, int]
    ties: int
    clips: int
    n_bytes: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def compute_stats(database: FeedbackDatabase) -> FeedbackStats:
    """Count annotations, labels and recordings.

    Raises:
        DatabaseUnavailable: the database cannot be read.
    """
    count = func.count()
    with database.read_transaction() as connection:
        by_annotator = select(annotations_table.c.annotator, count).group_by(
            annotations_table.c.annotator
        )
        annotators = {
            annotator: int(n)
            for annotator, n in connection.execute(by_annotator.order_by(count.desc(), "annotator"))
        }
        latest = connection.scalar(select(func.max(annotations_table.c.created_at)))
        clips, n_bytes = count_recordings(connection)
    resolved = resolved_labels(database)
    labels = Counter(entry.label for entry in resolved if not entry.is_tie)
    ties = sum(entry.is_tie for entry in resolved)
    return FeedbackStats(
        rows=sum(annotators.values()),
        latest=latest or "",
        annotators=annotators,
        labels=dict(labels.most_common()),
        ties=ties,
        clips=clips,
        n_bytes=n_bytes,
    )


def format_stats(stats: FeedbackStats) -> str:
    """The statistics as text for the terminal."""
    latest = f", latest at {stats.latest}" if stats.latest else ""
    lines = [
        f"annotations: {stats.rows} by {len(stats.annotators)} people or tools{latest}",
        f"labelled recordings: {sum(stats.labels.values())}; ties: {stats.ties}",
        f"saved recordings: {stats.clips} ({stats.n_bytes / 1e6:.1f} MB)",
    ]
    for title, counts in (("label", stats.labels), ("annotator", stats.annotators)):
        lines += [f"  {title} {name}: {count}" for name, count in counts.items()]
    return "\n".join(lines)
