"""The recordings of real people and of noise that the shipped digit models are made from.

FSDD: a folder with ``recordings`` and ``labels_full.csv`` (filename, label, speaker, split).
VOICES: a folder with ``digits``, ``words`` (other words), ``noises`` and ``digits_dev``, which only
chooses the threshold; each has a ``labels.csv`` with the columns filename, label, speaker, licence.

Nothing is trained on of the people whose digits are the validation part. Of the people whose other
words are left out, some digits are.
"""

import csv
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from earful.data.atomic_write import staged_file
from earful.data.audio.decode import decode, read_file
from earful.data.dataset.dataset import MANIFEST_FILENAME, Dataset, open_dataset
from earful.data.dataset.prepare import prepare
from earful.data.features.config import FeatureConfig
from earful.data.labels.clip import Clip, LabelledClips
from earful.data.labels.column_names import count_known
from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.labels_csv import read_labels
from earful.data.labels.splits import SplitMode
from earful.data.labels.table_file import open_table
from earful.data.labels.text_file import LabelsError
from earful.training.recipes.digits.spoken_word import RATE_HZ

FSDD_SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
# One stranger in ten chooses the epoch and calibrates the scores.
VALIDATION_PARTS = 10
# One speaker of other words in five, and one noise in four, are left out to count false accepts.
# A part of five holds that part of ten, so no word by a validation speaker is trained on.
HELD_OUT_WORD_PARTS, HELD_OUT_NOISE_PARTS = 5, 4
# Of these VOICES has a tenth of the clips of the others. They are read more often, so that a kind
# of microphone does not tell that a digit is none of them.
RARE_DIGITS, RARE_REPEATS = ("6", "7", "9"), 4
_NO_LICENCE = "none stated"
_LICENCE_COLUMN = "licence"


@dataclass(frozen=True)
class Negatives:
    """Clips of other words and of noise: to train on, and left out."""

    train: LabelledClips
    held_out_words: tuple[Clip, ...]
    held_out_noises: tuple[Clip, ...]


def read_digits(fsdd: Path, voices: Path) -> LabelledClips:
    """All spoken digits; the test part is FSDD's official one, the validation part strangers.

    Raises:
        LabelsError: a CSV cannot be read.
    """
    official = read_all(fsdd / "labels_full.csv", fsdd / "recordings")
    strangers = read_all(voices / "digits" / "labels.csv")
    return _labelled(*official, *(replace(clip, split=_split(clip)) for clip in strangers))


def repeat_rare_digits(digits: Dataset) -> Dataset:
    """The dataset of ``read_digits``, in which an epoch reads rare digits of VOICES more often."""
    clips = digits.clips
    is_rare = clips["label"].isin(RARE_DIGITS) & ~clips["speaker"].isin(FSDD_SPEAKERS)
    return replace(digits, oversample_counts=np.where(is_rare, RARE_REPEATS, 1))


def read_negatives(voices: Path) -> Negatives:
    """Clips with the labels ``word`` and ``noise``; noises are cut into seconds.

    Noises without a stated licence are not trained on. What is left out has no noise of a kind that
    is trained on: the same recording may be there under two names.

    Raises:
        LabelsError: a CSV cannot be read.
        AudioError: a noise cannot be read.
    """
    words = read_all(voices / "words" / "labels.csv")
    held_out_words = tuple(clip for clip in words if _part(clip, HELD_OUT_WORD_PARTS) == 0)
    noises = read_all(voices / "noises" / "labels.csv")
    licensed = _with_licence(voices / "noises" / "labels.csv", noises)
    trained_noises = [clip for i, clip in enumerate(licensed) if (i + 1) % HELD_OUT_NOISE_PARTS]
    trained_kinds = {clip.label for clip in trained_noises}
    return Negatives(
        train=_labelled(
            *(replace(clip, label="word") for clip in words if clip not in held_out_words),
            *(second for clip in trained_noises for second in _seconds(clip)),
        ),
        held_out_words=held_out_words,
        held_out_noises=tuple(clip for clip in noises if clip.label not in trained_kinds),
    )


def read_all(labels_csv: Path, audio_dir: Path | None = None) -> tuple[Clip, ...]:
    """The clips of a CSV that has no bad row.

    Raises:
        LabelsError: the CSV cannot be read, or a row is bad.
    """
    labelled = read_labels(labels_csv, CsvOptions(audio_dir))
    if labelled.problems:
        first = labelled.problems[0]
        raise LabelsError(f"{labels_csv}, line {first.line}, {first.message}")
    return labelled.clips


def prepare_once(clips: LabelledClips, out: Path, split: SplitMode) -> Dataset:
    """The dataset of the clips at the rate of the digit models; not written again."""
    if not (out / MANIFEST_FILENAME).is_file():
        prepare(clips, out, features=FeatureConfig.for_rate(RATE_HZ), split=split)
    return open_dataset(out)


def write_list(clips: Iterable[Clip], path: Path) -> None:
    """Write a labels CSV of whole files, with absolute paths.

    Raises:
        OutputError: the file cannot be written.
    """
    with staged_file(path) as staging, staging.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("filename", "label", "speaker"))
        rows.writerows((clip.path.resolve(), clip.label, clip.speaker) for clip in clips)


def _split(clip: Clip) -> str:
    return "val" if _part(clip, VALIDATION_PARTS) == 0 else "train"


def _part(clip: Clip, parts: int) -> int:
    """The part of a clip's speaker: the same on every machine and in every order."""
    return int.from_bytes(hashlib.sha256(clip.speaker.encode()).digest()[:4]) % parts


def _with_licence(labels_csv: Path, clips: Iterable[Clip]) -> list[Clip]:
    with open_table(labels_csv, count_known) as table:
        if _LICENCE_COLUMN not in table.header:
            raise LabelsError(
                f"{labels_csv} has no column {_LICENCE_COLUMN!r}; noises are trained on only with "
                "one"
            )
        column = table.header.index(_LICENCE_COLUMN)
        unlicensed = {row.line for row in table.rows if row.cells[column] == _NO_LICENCE}
    return [clip for clip in clips if clip.line not in unlicensed]


def _seconds(clip: Clip) -> list[Clip]:
    """The whole seconds of a noise, a clip each."""
    seconds = int(decode(read_file(clip.path), None).seconds)
    return [
        replace(clip, label="noise", start_seconds=float(start), end_seconds=float(start + 1))
        for start in range(seconds)
    ]


def _labelled(*clips: Clip) -> LabelledClips:
    columns = frozenset({"filename", "label", "speaker", "split", "start", "end"})
    return LabelledClips(tuple(clips), (), columns)
