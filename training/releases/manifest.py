"""What a version was trained and tested on: ``data.csv``, a labels CSV that names each sound.

filename, label, speaker, split, start, end   as in every labels CSV; paths are absolute
sha256   of the file
audio    hash of what is heard in the clip (``data.audio.fingerprint``): the same in a copy of the file
source   where the row came from
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
from earful.data.labels.labels_csv import Clip, read_labels
from earful.training.config.train_config import TrainingError

COLUMNS = (
    "filename", "label", "speaker", "split", "start", "end", "sha256", "audio", "source",
)  # fmt: skip


@dataclass(frozen=True)
class DataRow:
    """One clip of the data of a version; times are seconds inside its file, None for all of it."""

    path: Path
    label: str
    speaker: str
    split: str
    start_seconds: float | None
    end_seconds: float | None
    sha256: str
    audio: str
    source: str

    @classmethod
    def of_clip(cls, clip: Clip, *, split: str, sha256: str, audio: str, source: str) -> Self:
        times = clip.start_seconds, clip.end_seconds
        return cls(
            clip.path.absolute(), clip.label, clip.speaker, split, *times, sha256, audio, source
        )

    def with_label(self, label: str, source: str) -> "DataRow":
        """The same sound under another label."""
        return replace(self, label=label, source=source)


def rows_of_dataset(dataset: Dataset, source: str, split: str | None = None) -> Iterator[DataRow]:
    """The rows of a prepared dataset, all of them in ``split`` where one is given.

    Raises:
        TrainingError: the dataset does not know its files any more.
    """
    listed = dataset.folder / ALL_CLIPS_FILENAME
    if not listed.is_file():
        raise TrainingError(
            f"{dataset.folder} was prepared by an earlier version and does not say where its files "
            "are; prepare it again"
        )
    labelled = read_labels(listed)
    waveforms = dataset.array("waveforms")
    hashes = dataset.clips["sha256"].tolist()
    if labelled.problems or len(labelled.clips) != len(hashes):
        raise TrainingError(f"{listed} does not agree with its dataset; prepare it again")
    for i, clip in enumerate(labelled.clips):
        yield DataRow.of_clip(
            clip, split=split or clip.split, sha256=hashes[i],
            audio=audio_hash(as_float(waveforms[i])), source=source,
        )  # fmt: skip


def to_csv(rows: Iterable[DataRow]) -> bytes:
    """Rows as data.csv."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        times = (_seconds(row.start_seconds), _seconds(row.end_seconds))
        writer.writerow(
            (row.path, row.label, row.speaker, row.split, *times, row.sha256, row.audio, row.source)
        )
    return text.getvalue().encode()


def from_csv(content: bytes, place: str) -> list[DataRow]:
    """Rows of a data.csv.

    Raises:
        TrainingError: it is none.
    """
    try:
        found = list(csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True))
        if any(set(row) != set(COLUMNS) for row in found):
            raise ValueError(f"its columns are not {', '.join(COLUMNS)}")
        return [_row(values) for values in found]
    except (csv.Error, ValueError, TypeError) as error:
        raise TrainingError(f"the data of {place} is damaged: {error}") from error


def _row(values: dict[str, str]) -> DataRow:
    start, end = (float(values[name]) if values[name] else None for name in ("start", "end"))
    return DataRow(
        Path(values["filename"]), values["label"], values["speaker"], values["split"], start, end,
        values["sha256"], values["audio"], values["source"],
    )  # fmt: skip


def _seconds(seconds: float | None) -> str:
    return "" if seconds is None else repr(seconds)
