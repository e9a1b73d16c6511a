"""What is kept, in numbers."""

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
    """Rows of feedback, who gave them, what they come to, and the recordings that are kept."""

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
    """Count everything.

    Raises:
        StoreUnavailable: the database cannot be read.
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
        sum(annotators.values()),
        latest or "",
        annotators,
        dict(labels.most_common()),
        ties,
        clips,
        n_bytes,
    )


def format_stats(found: FeedbackStats) -> str:
    """The numbers as lines for people."""
    last = f", the last at {found.latest}" if found.latest else ""
    lines = [
        f"labels given: {found.rows}, by {len(found.annotators)} (people or tools){last}",
        f"recordings with a label: {sum(found.labels.values())}; with a tie: {found.ties}",
        f"recordings kept: {found.clips} ({found.n_bytes / 1e6:.1f} MB)",
    ]
    for title, counts in (("label", found.labels), ("annotator", found.annotators)):
        lines += [f"  {title} {name}: {count}" for name, count in counts.items()]
    return "\n".join(lines)
