"""What is kept, in numbers."""

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import func, select

from earful.service.feedback.database import Store
from earful.service.feedback.majority import resolved_labels
from earful.service.feedback.recording_rows import held
from earful.service.feedback.tables import feedback


@dataclass(frozen=True)
class Stats:
    """Rows of feedback, who gave them, what they come to, and the recordings that are kept."""

    rows: int
    latest: str
    people: dict[str, int]
    labels: dict[str, int]
    ties: int
    clips: int
    n_bytes: int

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def stats(store: Store) -> Stats:
    """Count everything.

    Raises:
        StoreUnavailable: the database cannot be read.
    """
    count = func.count()
    with store.reading() as connection:
        by_who = select(feedback.c.who, count).group_by(feedback.c.who)
        people = {
            who: int(n) for who, n in connection.execute(by_who.order_by(count.desc(), "who"))
        }
        latest = connection.scalar(select(func.max(feedback.c.created_at)))
        clips, n_bytes = held(connection)
    resolved = resolved_labels(store)
    labels = Counter(entry.label for entry in resolved if not entry.disagreeing)
    ties = sum(entry.disagreeing for entry in resolved)
    return Stats(
        sum(people.values()), latest or "", people, dict(labels.most_common()), ties, clips, n_bytes
    )


def told(found: Stats) -> str:
    """The numbers as lines for people."""
    last = f", the last at {found.latest}" if found.latest else ""
    lines = [
        f"labels given: {found.rows}, by {len(found.people)} (people or tools){last}",
        f"recordings with a label: {sum(found.labels.values())}; with a tie: {found.ties}",
        f"recordings kept: {found.clips} ({found.n_bytes / 1e6:.1f} MB)",
    ]
    for title, counts in (("label", found.labels), ("who", found.people)):
        lines += [f"  {title} {name}: {count}" for name, count in counts.items()]
    return "\n".join(lines)
