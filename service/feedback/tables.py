"""The tables. Times are text, ISO 8601 in UTC to the microsecond, so that they sort correctly.

earful_meta         name and value: schema version, key of the prediction ids, times of the last
                    retention run and orphan check
earful_recordings   one row per saved recording, with its latest prediction
earful_annotations  one row per annotation, deleted only by retention and on request. Of one
                    annotator's rows about one recording the last counts; a last row without a label
                    withdraws the annotation. ``sender`` is a pseudonym of the key or the address
                    that the request came from, empty if unknown.
"""

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Float,
    Index,
    Integer,
    MetaData,
    Subquery,
    Table,
    Text,
    UniqueConstraint,
    func,
    select,
)

from earful.service.feedback.schema import META_TABLE

metadata = MetaData()
meta = Table(
    META_TABLE,
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)
recordings_table = Table(
    "earful_recordings",
    metadata,
    Column("sha256", Text, primary_key=True),
    Column("suffix", Text, nullable=False),
    Column("n_bytes", BigInteger, nullable=False),
    Column("seconds", Float, nullable=False),
    Column("predicted_label", Text, nullable=False),
    Column("score", Float, nullable=False),
    Column("margin", Float, nullable=False),
    Column("model_name", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("saved_at", Text, nullable=False, index=True),
)
annotations_table = Table(
    "earful_annotations",
    metadata,
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True),
    Column("sha256", Text, nullable=False),
    Column("annotator", Text, nullable=False),
    Column("label", Text),
    Column("speaker", Text, nullable=False, index=True),
    Column("comment", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("predicted_label", Text, nullable=False),
    Column("predicted_score", Float),
    Column("model_name", Text, nullable=False),
    Column("model_version", Text, nullable=False),
    Column("idempotency_key", Text),
    Column("created_at", Text, nullable=False, index=True),
    Column("sender", Text, nullable=False, server_default=""),
    Index("ix_earful_annotations_current", "sha256", "annotator", "id"),
    UniqueConstraint("annotator", "idempotency_key"),
    sqlite_autoincrement=True,  # never reuse the id of a deleted row
)
# Also added to databases of schema version 2.
SENDER_INDEX = Index(
    "ix_earful_annotations_sender", annotations_table.c.sender, annotations_table.c.created_at
)


def current_annotations(*conditions: ColumnElement[bool]) -> Subquery:
    """The last annotation of each annotator about each recording, unless withdrawn.

    ``conditions`` select recordings or annotators.
    """
    # max(id) uses ix_earful_annotations_current alone; a window function would not.
    last = (
        select(func.max(annotations_table.c.id))
        .where(*conditions)
        .group_by(annotations_table.c.sha256, annotations_table.c.annotator)
    )
    return (
        select(annotations_table)
        .where(annotations_table.c.id.in_(last), annotations_table.c.label.is_not(None))
        .subquery()
    )


def timestamp(when: datetime | None = None) -> str:
    """A time, by default now, in the format of the tables."""
    return (when or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="microseconds")
