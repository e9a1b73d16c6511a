"""Feedback as a labels CSV to train on."""

import csv
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from earful.data.atomic_write import staged_folder
from earful.service.feedback.audio_files import AudioStore
from earful.service.feedback.database import Store
from earful.service.feedback.majority import ResolvedLabel, resolved_labels
from earful.service.feedback.recording_rows import kept_among

LABELS_FILE, LEFT_OUT_FILE = "labels.csv", "left_out.csv"
SOURCE = "feedback"
_COLUMNS = ("filename", "label", "speaker", "source", "annotator", "annotated_at", "sha256")
DISAGREEING = "those who labelled it disagree"
NOT_KEPT = "its audio is not kept"
MISSING = "its audio file is gone or cut"


@dataclass(frozen=True)
class LeftOut:
    """A labelled recording that is not in a snapshot, and why."""

    sha256: str
    label: str
    reason: str


@dataclass(frozen=True)
class Snapshot:
    """A labels CSV with ``clips`` rows at ``path``, and what is not in it."""

    path: Path
    clips: int
    left_out: tuple[LeftOut, ...]

    @property
    def reasons(self) -> dict[str, int]:
        """How many recordings were left out, by the reason."""
        return dict(Counter(entry.reason for entry in self.left_out))


def write_snapshot(store: Store, audio: AudioStore, folder: Path) -> Snapshot:
    """Write ``labels.csv`` of all labelled clips whose audio is kept, and ``left_out.csv``.

    The folder appears whole; an earlier snapshot in it is replaced. Its rows name the files where
    they are kept: what is deleted there is gone here too.

    Raises:
        StoreUnavailable: the database cannot be read.
        OutputError: the folder is taken by something else or cannot be written.
    """
    rows, left_out = _sorted_out(store, audio)
    with staged_folder(folder, LABELS_FILE) as staging:
        _write(staging / LABELS_FILE, _COLUMNS, rows)
        missing = ((entry.sha256, entry.label, entry.reason) for entry in left_out)
        _write(staging / LEFT_OUT_FILE, ("sha256", "label", "reason"), missing)
    return Snapshot(folder.absolute() / LABELS_FILE, len(rows), tuple(left_out))


def _sorted_out(store: Store, audio: AudioStore) -> tuple[list[Sequence[str]], list[LeftOut]]:
    resolved = resolved_labels(store)
    with store.reading() as connection:
        kept = {row.sha256: row for row in kept_among(connection, (r.sha256 for r in resolved))}
    rows: list[Sequence[str]] = []
    left_out: list[LeftOut] = []
    for entry in resolved:
        row = kept.get(entry.sha256)
        path = audio.path(entry.sha256, row.suffix) if row else None
        if entry.disagreeing:
            left_out.append(LeftOut(entry.sha256, "", DISAGREEING))
        elif row is None or path is None:
            left_out.append(LeftOut(entry.sha256, entry.label, NOT_KEPT))
        elif not path.is_file() or path.stat().st_size != row.n_bytes:
            left_out.append(LeftOut(entry.sha256, entry.label, MISSING))
        else:
            rows.append(_line(entry, path))
    return rows, left_out


def _line(entry: ResolvedLabel, path: Path) -> Sequence[str]:
    annotators = harmless("; ".join(entry.annotators))
    return (
        str(path), entry.label, entry.speaker, SOURCE, annotators, entry.created_at, entry.sha256
    )  # fmt: skip


def harmless(text: str) -> str:
    """A cell for people: what a spreadsheet would take for a formula gets an apostrophe.

    Labels and speakers are for machines and stay as they are.
    """
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def _write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
