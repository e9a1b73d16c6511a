"""``earful feedback``: list, export and delete the feedback of users."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from earful.data.errors import EarfulError, UsageError
from earful.service.commands.next_steps import print_next
from earful.service.commands.options import NoEscapeOption
from earful.service.core.defaults import (
    DEFAULT_FEEDBACK_URL,
    DEFAULT_MAX_RECORDINGS_BYTES,
    DEFAULT_RECORDINGS_FOLDER,
    DEFAULT_RETENTION_DAYS,
    FEEDBACK_OFF,
)
from earful.service.core.echo import echo
from earful.service.feedback.database_url import DatabaseAddress

if TYPE_CHECKING:
    from earful.service.feedback.database import FeedbackDatabase

DatabaseOption = Annotated[
    str,
    typer.Option(
        "--feedback",
        metavar="URL",
        envvar="EARFUL_FEEDBACK_URL",
        help="Database of feedback.",
    ),
]
SavedRecordingsOption = Annotated[
    Path, typer.Option(envvar="EARFUL_RECORDINGS_DIR", help="Folder of saved recordings.")
]
_ANNOTATOR = typer.Option(
    "--annotator", metavar="KEY", help="Key of a person who labelled or speaks."
)
AnnotatorOption = Annotated[str | None, _ANNOTATOR]
FeedbackJsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON object on stdout.")
]


feedback_app = typer.Typer(
    no_args_is_help=True, help="List, export and delete the feedback of users."
)


@feedback_app.command("list")
def list_feedback(
    feedback: DatabaseOption = DEFAULT_FEEDBACK_URL, as_json: FeedbackJsonOption = False
) -> None:
    """Count labels, people and recordings."""
    from earful.service.feedback.stats import compute_stats, format_stats

    with opened_database(feedback) as database:
        stats = compute_stats(database)
    echo(json.dumps(stats.as_json()) if as_json else format_stats(stats))


@feedback_app.command()
def export(
    annotator: AnnotatorOption = None,
    labels: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Folder for labels.csv and all labelled recordings."),
    ] = None,
    no_escape: NoEscapeOption = False,
    feedback: DatabaseOption = DEFAULT_FEEDBACK_URL,
    saved_recordings: SavedRecordingsOption = DEFAULT_RECORDINGS_FOLDER,
) -> None:
    """Export a person's data as JSON (--annotator), or all labels to train on (--labels)."""
    from earful.service.feedback.audio_files import RecordingStore
    from earful.service.feedback.export import write_snapshot
    from earful.service.feedback.privacy import export_subject_data

    if (annotator is None) == (labels is None):
        raise UsageError("give --annotator KEY or --labels FOLDER")
    recording_store = RecordingStore(saved_recordings)
    with opened_database(feedback) as database:
        if labels is None:
            subject = export_subject_data(database, str(annotator))
            echo(json.dumps(subject.as_json(str(annotator), recording_store.name), indent=1))
            return
        snapshot = write_snapshot(database, recording_store, labels, mark=not no_escape)
    echo(f"{snapshot.path}: {snapshot.clips} labelled clips", err=True)
    for reason, count in snapshot.reasons.items():
        echo(f"{count} left out: {reason}", err=True)
    print_next(("retrain", "NAME", "--new", snapshot.path))


@feedback_app.command()
def delete(
    annotator: Annotated[str, _ANNOTATOR],
    yes: Annotated[bool, typer.Option("--yes", help="Delete without asking.")] = False,
    feedback: DatabaseOption = DEFAULT_FEEDBACK_URL,
    saved_recordings: SavedRecordingsOption = DEFAULT_RECORDINGS_FOLDER,
) -> None:
    """Delete a person's labels and voice recordings, and recordings only they labelled."""
    from earful.service.feedback.audio_files import RecordingStore
    from earful.service.feedback.privacy import erase_subject, export_subject_data

    with opened_database(feedback) as database:
        subject = export_subject_data(database, annotator)
        if not subject.annotations:
            raise EarfulError(f"nothing is stored under {annotator!r}; keys are case-sensitive")
        counted = f"{len(subject.annotations)} labels and up to {len(subject.clips)} recordings"
        if not yes:
            typer.confirm(f"{counted}: delete them?", abort=True, err=True)
        deleted = erase_subject(database, RecordingStore(saved_recordings), annotator)
    echo(f"deleted {deleted.rows} labels and {deleted.clips} recordings ({deleted.n_bytes} bytes)")


@feedback_app.command()
def clean(
    retention_days: Annotated[
        float,
        typer.Option(
            min=0, envvar="EARFUL_RETENTION_DAYS", help="Delete what is older; 0 is no limit."
        ),
    ] = DEFAULT_RETENTION_DAYS,
    max_recordings_bytes: Annotated[
        int,
        typer.Option(
            min=0,
            envvar="EARFUL_MAX_RECORDINGS_BYTES",
            help="Delete the oldest beyond this; 0 is no limit.",
        ),
    ] = DEFAULT_MAX_RECORDINGS_BYTES,
    feedback: DatabaseOption = DEFAULT_FEEDBACK_URL,
    saved_recordings: SavedRecordingsOption = DEFAULT_RECORDINGS_FOLDER,
) -> None:
    """Delete what exceeds the limits, and files and entries that a killed service left."""
    from earful.service.feedback.audio_files import RecordingStore
    from earful.service.feedback.recording_rows import delete_missing_rows, delete_orphan_files
    from earful.service.feedback.records import RetentionLimits
    from earful.service.feedback.retention import apply_retention

    recording_store = RecordingStore(saved_recordings)
    with opened_database(feedback) as database:
        cleaned = apply_retention(
            database, recording_store, RetentionLimits(retention_days, max_recordings_bytes)
        )
        orphans, missing = (
            delete_orphan_files(database, recording_store),
            delete_missing_rows(database, recording_store),
        )
    echo(
        f"deleted {cleaned.expired} recordings and {cleaned.labels} labels by age, "
        f"{cleaned.evicted} recordings for space ({cleaned.n_bytes} bytes); "
        f"{orphans} files without an entry, {missing} entries without a file"
    )


@contextmanager
def opened_database(url: str) -> "Iterator[FeedbackDatabase]":
    from earful.service.feedback.database import open_database

    if url == FEEDBACK_OFF:
        raise EarfulError("feedback is off (EARFUL_FEEDBACK_URL); give --feedback URL")
    database = open_database(DatabaseAddress.parse(url), create=False)
    try:
        yield database
    finally:
        database.close()
