"""Feedback as labelled clips to retrain a model with, and as a labels CSV."""

import stat
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from earful.data.atomic_write import staged_folder
from earful.data.labels.clip import Clip, LabelledClips, Provenance
from earful.data.text.formula_cells import write_csv
from earful.data.text.printable import printable_text
from earful.service.feedback.audio_files import RecordingStore
from earful.service.feedback.database import FeedbackDatabase
from earful.service.feedback.majority import (
    EVERY_VOTE,
    ResolvedLabel,
    VoteRules,
    resolved_labels,
)
from earful.service.feedback.recording_rows import find_recordings

LABELS_FILE, SKIPPED_FILE = "labels.csv", "skipped.csv"
SOURCE = "feedback"
_COLUMNS = ("filename", "label", "speaker", "source", "annotator", "annotated_at", "sha256")
DISPUTED = "annotators disagree"
NOT_SAVED = "audio not saved"
MISSING = "audio file missing or truncated"
UNUSABLE = "not a label: too long, not printable, or the name of a rejected clip"


@dataclass(frozen=True)
class SkippedRecording:
    """A label of a recording that is left out, and why."""

    sha256: str
    label: str
    reason: str


@dataclass(frozen=True)
class Snapshot:
    """A labels CSV with ``clips`` rows at ``path``, and the number of labels left out by reason."""

    path: Path
    clips: int
    reasons: dict[str, int]


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
    usable, skipped = find_usable(database, recording_store)
    rows = [_csv_row(entry, path) for entry, path in usable]
    with staged_folder(folder, LABELS_FILE) as staging:
        write_csv(staging / LABELS_FILE, _COLUMNS, rows, mark=mark, line_end="\n")
        skipped_rows = ((entry.sha256, entry.label, entry.reason) for entry in skipped)
        columns = ("sha256", "label", "reason")
        write_csv(staging / SKIPPED_FILE, columns, skipped_rows, mark=mark, line_end="\n")
    return Snapshot(folder.absolute() / LABELS_FILE, len(rows), _count_reasons(skipped))


def labelled_clips(
    database: FeedbackDatabase,
    recording_store: RecordingStore,
    trust: Collection[str],
    known_labels: Collection[str],
) -> LabelledClips:
    """The clips of all saved recordings that have a label, to retrain a model with.

    ``trust`` are annotators whose labels count more than others' and overrule curated ones;
    ``known_labels`` are those of the model. The notes are on labels that are left out.

    Raises:
        DatabaseUnavailable: the database cannot be read.
    """
    rules = VoteRules(frozenset(trust), frozenset(known_labels))
    usable, skipped = find_usable(database, recording_store, rules)
    notes = [
        f"{count} labels of recordings left out: {reason}"
        for reason, count in _count_reasons(skipped).items()
    ]
    return LabelledClips.of_clips([_clip(entry, path) for entry, path in usable], (), notes)


def _clip(entry: ResolvedLabel, path: Path) -> Clip:
    return Clip(
        0,
        str(path),
        path,
        entry.label,
        entry.speaker,
        provenance=Provenance(SOURCE, ", ".join(dict.fromkeys(entry.agreeing)), entry.created_at),
        may_overrule=entry.is_trusted,
    )


def find_usable(
    database: FeedbackDatabase, recording_store: RecordingStore, rules: VoteRules = EVERY_VOTE
) -> tuple[list[tuple[ResolvedLabel, Path]], list[SkippedRecording]]:
    """The labels to train on with their recordings, sorted by SHA-256, and the labels left out.

    Raises:
        DatabaseUnavailable: the database cannot be read.
    """
    resolved = resolved_labels(database, rules)
    with database.read_transaction() as connection:
        recordings = {
            row.sha256: row for row in find_recordings(connection, (r.sha256 for r in resolved))
        }
    usable: list[tuple[ResolvedLabel, Path]] = []
    skipped: list[SkippedRecording] = []
    for entry in resolved:
        row = recordings.get(entry.sha256)
        path = recording_store.path(entry.sha256, row.suffix) if row else None
        skipped += [
            SkippedRecording(entry.sha256, printable_text(label), UNUSABLE)
            for label in entry.unusable
        ]
        if not entry.annotators:
            continue
        if entry.is_tie:
            skipped.append(SkippedRecording(entry.sha256, "", DISPUTED))
        elif row is None or path is None:
            skipped.append(SkippedRecording(entry.sha256, entry.label, NOT_SAVED))
        elif not _has_size(path, row.n_bytes):
            skipped.append(SkippedRecording(entry.sha256, entry.label, MISSING))
        else:
            usable.append((entry, path))
    return usable, skipped


def _count_reasons(skipped: Iterable[SkippedRecording]) -> dict[str, int]:
    return dict(Counter(entry.reason for entry in skipped))


def _has_size(path: Path, n_bytes: int) -> bool:
    """Whether this is a file of that size; it may be deleted at any time."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_size == n_bytes


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
