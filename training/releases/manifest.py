"""The training and test data of a version: ``data.csv``, a labels CSV with these columns.

filename, label, speaker, split, start, end   as in any labels CSV; paths are absolute
sha256      hash of the file
audio_hash  hash of the clip's audio (``data.audio.fingerprint``); equal for copies of the file
source      origin of the row, as "dataset NAME" or "dataset NAME, corrected by feedback"
"""

import csv
import io
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from earful.data.audio.fingerprint import audio_hash
from earful.data.audio.pcm import as_float
from earful.data.dataset.dataset import ALL_CLIPS_FILENAME, Dataset
from earful.data.labels.clip import Clip, Provenance
from earful.data.labels.labels_csv import read_labels
from earful.training.config.train_config import TrainingError

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


def to_row(clip: Clip) -> Clip:
    """What data.csv keeps of a clip, whose absolute path is its name."""
    path = clip.path.absolute()
    return Clip(
        0,
        str(path),
        path,
        clip.label,
        clip.speaker,
        clip.split,
        clip.start_seconds,
        clip.end_seconds,
        sha256=clip.sha256,
        audio_hash=clip.audio_hash,
        provenance=Provenance(clip.provenance.source),
    )


def rows_of_dataset(dataset: Dataset, source: str, split: str | None = None) -> Iterator[Clip]:
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
        yield to_row(
            replace(
                clip,
                split=split or clip.split,
                sha256=hashes[i],
                audio_hash=audio_hash(as_float(waveforms[i])),
                provenance=Provenance(source),
            )
        )


def to_csv(rows: Iterable[Clip]) -> bytes:
    """The content of data.csv, UTF-8."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        times = map(_format_seconds, (row.start_seconds, row.end_seconds))
        labelling = (row.path, row.label, row.speaker, row.split)
        writer.writerow([*labelling, *times, row.sha256, row.audio_hash, row.provenance.source])
    return text.getvalue().encode()


def from_csv(content: bytes, source_name: str) -> list[Clip]:
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


def _parse_row(values: dict[str, str]) -> Clip:
    name, start, end = (values[column] for column in ("filename", "start", "end"))
    return Clip(
        0,
        name,
        Path(name),
        values["label"],
        values["speaker"],
        values["split"],
        _parse_seconds(start),
        _parse_seconds(end),
        sha256=values["sha256"],
        audio_hash=values["audio_hash"],
        provenance=Provenance(values["source"]),
    )


def _format_seconds(seconds: float | None) -> str:
    return "" if seconds is None else repr(seconds)


def _parse_seconds(text: str) -> float | None:
    return float(text) if text else None
