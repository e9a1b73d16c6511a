"""Feedback as a labels CSV to train on."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from earful.data.atomic_write import staged_folder
from earful.service.feedback.audio_files import RecordingStore
from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.majority import ResolvedLabel, resolved_labels
from earful.service.feedback.recording_rows import find_recordings

LABELS_FILE, SKIPPED_FILE = "labels.csv", "skipped.csv"
SOURCE = "feedback"
_COLUMNS = ("filename", "label", "speaker", "source", "annotator", "annotated_at", "sha256")
DISPUTED = "those who labelled it disagree"
NOT_SAVED = "its audio is not kept"
MISSING = "its audio file is gone or cut"


@dataclass(frozen=True)
class SkippedRecording:
    """A labelled recording that is not in a snapshot, and why."""

    sha256: str
    label: str
    reason: str


@dataclass(frozen=True)
class Snapshot:
    """A labels CSV with ``clips`` rows at ``path``, and what is not in it."""

    path: Path
    clips: int
    skipped: tuple[SkippedRecording, ...]

    @property
    def reasons(self) -> dict[str, int]:
        """How many recordings were left out, by the reason."""
        return dict(Counter(entry.reason for entry in self.skipped))


def write_snapshot(
    database: FeedbackDatabase, recording_store: RecordingStore, folder: Path
) -> Snapshot:
    """Write ``labels.csv`` of all labelled clips whose audio is kept, and ``skipped.csv``.

    The folder appears whole; an earlier snapshot in it is replaced. Its rows name the files where
    they are kept: what is deleted there is gone here too.

    Raises:
        StoreUnavailable: the database cannot be read.
        OutputError: the folder is taken by something else or cannot be written.
    """
    rows, skipped = _split_usable(database, recording_store)
    with staged_folder(folder, LABELS_FILE) as staging:
        _write(staging / LABELS_FILE, _COLUMNS, rows)
        missing = ((entry.sha256, entry.label, entry.reason) for entry in skipped)
        _write(staging / SKIPPED_FILE, ("sha256", "label", "reason"), missing)
    return Snapshot(folder.absolute() / LABELS_FILE, len(rows), tuple(skipped))


def _split_usable(
    database: FeedbackDatabase, recording_store: RecordingStore
) -> tuple[list[Sequence[str]], list[SkippedRecording]]:
    resolved = resolved_labels(database)
    with database.read_transaction() as connection:
        recordings = {
            row.sha256: row for row in find_recordings(connection, (r.sha256 for r in resolved))
        }
    rows: list[Sequence[str]] = []
    skipped: list[SkippedRecording] = []
    for entry in resolved:
        row = recordings.get(entry.sha256)
        path = recording_store.path(entry.sha256, row.suffix) if row else None
        if entry.is_tie:
            skipped.append(SkippedRecording(entry.sha256, "", DISPUTED))
        elif row is None or path is None:
            skipped.append(SkippedRecording(entry.sha256, entry.label, NOT_SAVED))
        elif not path.is_file() or path.stat().st_size != row.n_bytes:
            skipped.append(SkippedRecording(entry.sha256, entry.label, MISSING))
        else:
            rows.append(_csv_row(entry, path))
    return rows, skipped


def _csv_row(entry: ResolvedLabel, path: Path) -> Sequence[str]:
    annotators = escape_formula("; ".join(entry.annotators))
    return (
        str(path), entry.label, entry.speaker, SOURCE, annotators, entry.created_at, entry.sha256
    )  # fmt: skip


def escape_formula(text: str) -> str:
    """A cell for people: what a spreadsheet would take for a formula gets an apostrophe.

    Labels and speakers are for machines and stay as they are.
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
