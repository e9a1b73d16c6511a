"""Exports feedback as a labels CSV for training."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from earful.data.atomic_write import staged_folder
from earful.data.text.formula_cells import mark_formulas
from earful.service.feedback.audio_files import RecordingStore
from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.majority import ResolvedLabel, resolved_labels
from earful.service.feedback.recording_rows import find_recordings

LABELS_FILE, SKIPPED_FILE = "labels.csv", "skipped.csv"
SOURCE = "feedback"
_COLUMNS = ("filename", "label", "speaker", "source", "annotator", "annotated_at", "sha256")
DISPUTED = "annotators disagree"
NOT_SAVED = "audio not saved"
MISSING = "audio file missing or truncated"


@dataclass(frozen=True)
class SkippedRecording:
    """A labelled recording that is left out of a snapshot, and why."""

    sha256: str
    label: str
    reason: str


@dataclass(frozen=True)
class Snapshot:
    """A labels CSV with ``clips`` rows at ``path``, and the recordings left out."""

    path: Path
    clips: int
    skipped: tuple[SkippedRecording, ...]

    @property
    def reasons(self) -> dict[str, int]:
        """Number of recordings left out, by reason."""
        return dict(Counter(entry.reason for entry in self.skipped))


def write_snapshot(
    database: FeedbackDatabase,
    recording_store: RecordingStore,
    folder: Path,
    *,
    mark: bool = True,
) -> Snapshot:
    """Write ``labels.csv`` with all labelled clips whose audio is saved, and ``skipped.csv``.

    The folder is written atomically and replaces an earlier snapshot. The rows refer to the files
    in the recordings folder, so that audio deleted there is not kept in a copy. ``mark`` puts an
    apostrophe before cells that a spreadsheet would run as formulas.

    Raises:
        DatabaseUnavailable: the database cannot be read.
        OutputError: the folder holds something else or cannot be written.
    """
    rows, skipped = _split_usable(database, recording_store)
    with staged_folder(folder, LABELS_FILE) as staging:
        _write(staging / LABELS_FILE, _COLUMNS, rows, mark=mark)
        skipped_rows = ((entry.sha256, entry.label, entry.reason) for entry in skipped)
        _write(staging / SKIPPED_FILE, ("sha256", "label", "reason"), skipped_rows, mark=mark)
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
    return [
        str(path),
        entry.label,
        entry.speaker,
        SOURCE,
        "; ".join(entry.annotators),
        entry.created_at,
        entry.sha256,
    ]


def _write(
    path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]], *, mark: bool
) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(map(mark_formulas, rows) if mark else rows)
