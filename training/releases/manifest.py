"""The training and test data of a version: ``data.csv``, a labels CSV with these columns.

filename, label, speaker, split, start, end   as in any labels CSV; paths are absolute
sha256      hash of the file
audio_hash  hash of the clip's audio (``data.audio.fingerprint``); equal for copies of the file
source      origin of the row, as "dataset NAME" or "dataset NAME, corrected by feedback"
"""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from earful.data.audio.fingerprint import audio_hash
from earful.data.audio.pcm import as_float
from earful.data.dataset.dataset import ALL_CLIPS_FILENAME, Dataset
from earful.data.labels.clip import Clip
from earful.data.labels.labels_csv import read_labels
from earful.training.config.train_config import TrainingError

_CORRECTED_BY = ", corrected by "
COLUMNS = (
    "filename",
    "label",
    "speaker",
    "split",
    "start",
    "end",
    "sha256",
    "audio_hash",
    "source",
)


@dataclass(frozen=True)
class ManifestRow:
    """One clip; times are in seconds inside its file, None for the whole file."""

    path: Path
    label: str
    speaker: str
    split: str
    start_seconds: float | None
    end_seconds: float | None
    sha256: str
    audio_hash: str
    source: str

    @classmethod
    def from_clip(
        cls, clip: Clip, *, split: str, sha256: str, audio_hash: str, source: str
    ) -> Self:
        return cls(
            path=clip.path.absolute(),
            label=clip.label,
            speaker=clip.speaker,
            split=split,
            start_seconds=clip.start_seconds,
            end_seconds=clip.end_seconds,
            sha256=sha256,
            audio_hash=audio_hash,
            source=source,
        )

    @property
    def origin(self) -> str:
        """Where the file comes from, whoever corrected its label."""
        return self.source.partition(_CORRECTED_BY)[0]

    def with_label(self, label: str, source: str) -> "ManifestRow":
        """The same clip with another label; its file is still that of its own source."""
        named = source if self.origin == source else f"{self.origin}{_CORRECTED_BY}{source}"
        return replace(self, label=label, source=named)


def rows_of_dataset(
    dataset: Dataset, source: str, split: str | None = None
) -> Iterator[ManifestRow]:
    """The rows of a prepared dataset; all get ``split`` where it is given.

    Raises:
        TrainingError: the dataset does not list its files, or the list does not match its clips.
    """
    labels_csv = dataset.folder / ALL_CLIPS_FILENAME
    if not labels_csv.is_file():
        raise TrainingError(
            f"{dataset.folder} does not list its files ({ALL_CLIPS_FILENAME} is missing); prepare "
            "it again with `earful prepare`"
        )
    labelled = read_labels(labels_csv)
    waveforms = dataset.array("waveforms")
    hashes = dataset.clips["sha256"].tolist()
    if labelled.problems or len(labelled.clips) != len(hashes):
        raise TrainingError(
            f"{labels_csv} does not match its dataset; prepare it again with `earful prepare`"
        )
    for i, clip in enumerate(labelled.clips):
        yield ManifestRow.from_clip(
            clip,
            split=split or clip.split,
            sha256=hashes[i],
            audio_hash=audio_hash(as_float(waveforms[i])),
            source=source,
        )


def to_csv(rows: Iterable[ManifestRow]) -> bytes:
    """The content of data.csv, UTF-8."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(_format_row(row) for row in rows)
    return text.getvalue().encode()


def from_csv(content: bytes, source_name: str) -> list[ManifestRow]:
    """The rows of a data.csv; ``source_name`` names it in errors.

    Raises:
        TrainingError: it is damaged, or has other columns.
    """
    try:
        rows = list(csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True))
        if any(set(row) != set(COLUMNS) for row in rows):
            raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
        return [_parse_row(values) for values in rows]
    except (csv.Error, ValueError, TypeError) as error:
        raise TrainingError(
            f"the data of {source_name} is damaged: {error}; register it again with "
            "`earful models register NAME RUN --data DATASET`"
        ) from error


def _format_row(row: ManifestRow) -> dict[str, object]:
    return {
        "filename": row.path,
        "label": row.label,
        "speaker": row.speaker,
        "split": row.split,
        "start": _format_seconds(row.start_seconds),
        "end": _format_seconds(row.end_seconds),
        "sha256": row.sha256,
        "audio_hash": row.audio_hash,
        "source": row.source,
    }


def _parse_row(values: dict[str, str]) -> ManifestRow:
    return ManifestRow(
        path=Path(values["filename"]),
        label=values["label"],
        speaker=values["speaker"],
        split=values["split"],
        start_seconds=_parse_seconds(values["start"]),
        end_seconds=_parse_seconds(values["end"]),
        sha256=values["sha256"],
        audio_hash=values["audio_hash"],
        source=values["source"],
    )


def _format_seconds(seconds: float | None) -> str:
    return "" if seconds is None else repr(seconds)


def _parse_seconds(text: str) -> float | None:
    return float(text) if text else None
