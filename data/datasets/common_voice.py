"""Common Voice: ``clips/*.mp3`` and ``train.tsv``, ``dev.tsv``, ``test.tsv``, ``validated.tsv``.

Source: github.com/common-voice/cv-dataset. A dataset for speech recognition: no column is a class.
The label is ``locale`` where several languages lie side by side, ``sentence`` where there are few
(the segment of single words), else ``gender``; ``--columns label=age`` takes another. Speakers
(``client_id``) are in one part only.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from earful.data.datasets.known_dataset import KnownDataset
from earful.data.datasets.rare_labels import without_rare_labels
from earful.data.datasets.tables import Table, read_table_clips
from earful.data.labels.clip import Clip, LabelledClips
from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.text_file import LabelsError

_PARTS = {"train.tsv": "train", "dev.tsv": "val", "test.tsv": "test"}
_VALIDATED = "validated.tsv"
# The segment of single words has 14 to 18.
_MAX_WORDS = 50
# The message of a row without a label (data.labels.label_rows).
_NO_LABEL = "column label, value '':"


def _read(root: Path, options: CsvOptions, table: str) -> LabelledClips:
    languages = [path.parent for path in sorted(root.glob("*/clips")) if path.is_dir()]
    folders = [root] if (root / "clips").is_dir() else languages
    parts = [(folder, *part) for folder in folders for part in _parts(folder, table)]
    label = options.columns.get("label") or _default_label(folders, parts)
    clips: list[Clip] = []
    problems = []
    unlabelled = 0
    for folder, name, split in parts:
        labelled = read_table_clips(folder, _describe(name, split, label), options)
        clips += [_below(clip, folder, root) for clip in labelled.clips]
        bad = [p for p in labelled.problems if not p.message.startswith(_NO_LABEL)]
        problems += bad
        unlabelled += len(labelled.problems) - len(bad)
    notes = [f"the label is {label}; --columns label=NAME takes another column of the tables"]
    if unlabelled:
        notes.append(f"{unlabelled} clips have no {label} and are left out")
    return without_rare_labels(LabelledClips.of_clips(clips, problems, notes))


def _parts(folder: Path, table: str) -> Iterator[tuple[str, str]]:
    """The tables to read and their splits: the three parts, or ``validated.tsv`` without them."""
    if table:
        yield table, ""  # a part that is read alone is split anew
    elif (folder / "train.tsv").is_file():
        yield from ((name, split) for name, split in _PARTS.items() if (folder / name).is_file())
    else:
        yield _VALIDATED, ""


def _default_label(folders: list[Path], parts: list[tuple[Path, str, str]]) -> str:
    if len(folders) > 1:
        return "locale"
    folder, name, _ = parts[0]
    words: Counter[str] = Counter()
    for row in _rows(folder / name):
        words[row.get("sentence") or ""] += 1
        if len(words) > _MAX_WORDS:
            return "gender"
    return "sentence" if words.total() >= 2 * len(words) else "gender"


def _rows(path: Path) -> Iterator[Mapping[str, str]]:
    """The rows of a table; quotation marks are part of sentences."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            yield from csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
    except OSError as error:
        raise LabelsError(f"cannot read {path}: {error.strerror}") from error


def _describe(name: str, split: str, label: str) -> Table:
    columns = {"filename": "path", "label": label, "speaker": "client_id"}
    return Table(name, "clips", columns, split=split, locate=_locate)


def _locate(clip: Clip) -> str:
    return clip.filename if "." in clip.filename else f"{clip.filename}.mp3"


def _below(clip: Clip, folder: Path, root: Path) -> Clip:
    return (
        replace(clip, filename=clip.path.relative_to(root).as_posix()) if folder != root else clip
    )


COMMON_VOICE = KnownDataset(
    name="Common Voice",
    contents="sentences read in over 130 languages",
    marks=("clips|*/clips", "train.tsv|validated.tsv|*/train.tsv|*/validated.tsv"),
    read=_read,
    labels_from="train.tsv, dev.tsv and test.tsv, speaker from client_id",
    evaluation="split: train.tsv, dev.tsv, test.tsv",
    licence="CC0 1.0",
    link="https://commonvoice.mozilla.org/datasets",
    tables=(*_PARTS, _VALIDATED),
    columns=("client_id", "path", "sentence"),
    audio_dirs=("clips",),
)
