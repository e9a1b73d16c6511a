"""Recognise a public dataset by its layout: at a folder, above it, below it, or by its table."""

import os
from dataclasses import dataclass, replace
from pathlib import Path

from earful.data.audio.system_files import is_system_name
from earful.data.datasets.catalogue import DATASETS
from earful.data.datasets.known_dataset import KnownDataset
from earful.data.labels.clip import LabelledClips
from earful.data.labels.csv_options import CsvOptions
from earful.data.labels.text_file import LabelsError

# How far above a folder or a table, and below a folder, the root of a dataset is looked for.
_LEVELS_UP, _LEVELS_DOWN = 2, 2
# Folders that are looked at below; a tree of more is no unpacked archive.
_MAX_FOLDERS = 300


@dataclass(frozen=True)
class RecognisedDataset:
    """A dataset and the root of its layout.

    ``within`` is the part of it that was asked for, ``table`` its table that was given; both are
    empty for all.
    """

    dataset: KnownDataset
    root: Path
    within: Path | None = None
    table: str = ""


def recognise(source: Path, options: CsvOptions) -> RecognisedDataset | None:
    """The dataset at a folder or a labels CSV; None if its layout is not known.

    A CSV that is read with another ``--audio-dir`` than that of the dataset is not recognised.

    Raises:
        LabelsError: several datasets lie below the folder.
    """
    if not source.is_dir():
        return _recognise_table(source, options)
    at_source = _dataset_at(source)
    if at_source is not None:
        return RecognisedDataset(at_source, source)
    return _recognise_below(source) or _recognise_above(source)


def read_recognised(found: RecognisedDataset, options: CsvOptions) -> LabelledClips:
    """The clips of a recognised dataset; its first note says what was recognised.

    Raises:
        LabelsError: a table cannot be read, or no recording is left.
    """
    dataset = found.dataset
    labelled = dataset.read(found.root, replace(options, audio_dir=None), found.table)
    notes = [
        f"recognised {dataset.name} in {found.root}: {dataset.labels_from}; licence "
        f"{dataset.licence}",
        *labelled.notes,
    ]
    if found.within is not None:
        kept = tuple(clip for clip in labelled.clips if clip.path.is_relative_to(found.within))
        if len(kept) < len(labelled.clips):
            notes.append(
                f"{len(kept)} of its {len(labelled.clips)} clips are those below {found.within}"
            )
        labelled = replace(labelled, clips=kept)
    if not labelled.clips and not labelled.problems:
        raise LabelsError(
            f"{found.root} has the layout of {dataset.name} and no recording with a label; unpack "
            "all of its archives there"
        )
    return replace(labelled, notes=tuple(notes))


def _dataset_at(root: Path) -> KnownDataset | None:
    return next((dataset for dataset in DATASETS if dataset.matches(root)), None)


def _recognise_table(source: Path, options: CsvOptions) -> RecognisedDataset | None:
    for root in source.absolute().parents[: _LEVELS_UP + 1]:
        for dataset in DATASETS:
            table = source.absolute().relative_to(root).as_posix()
            if table in dataset.tables and dataset.matches(root):
                own = options.audio_dir is None or options.audio_dir.resolve() in {
                    (root / name).resolve() for name in ("", *dataset.audio_dirs)
                }
                return RecognisedDataset(dataset, root, table=table) if own else None
    return None


def _recognise_above(source: Path) -> RecognisedDataset | None:
    """A part of a dataset, such as ``Actor_01`` or ``audio``."""
    absolute = source.absolute()
    for root in absolute.parents[:_LEVELS_UP]:
        dataset = _dataset_at(root)
        if dataset is not None and dataset.holds(absolute.relative_to(root)):
            return RecognisedDataset(dataset, root, within=absolute)
    return None


def _recognise_below(source: Path) -> RecognisedDataset | None:
    level = [source]
    for _ in range(_LEVELS_DOWN):
        level = [folder for parent in level for folder in _subfolders(parent)][:_MAX_FOLDERS]
        datasets = [(dataset, root) for root in level if (dataset := _dataset_at(root)) is not None]
        if len(datasets) > 1:
            listed = ", ".join(f"{dataset.name} in {root}" for dataset, root in datasets[:4])
            raise LabelsError(f"{source} holds several datasets; give one of them: {listed}")
        if datasets:
            return RecognisedDataset(*datasets[0])
    return None


def _subfolders(folder: Path) -> list[Path]:
    try:
        with os.scandir(folder) as entries:
            names = [
                entry.name
                for entry in entries
                if not is_system_name(entry.name) and entry.is_dir(follow_symlinks=False)
            ]
    except OSError:
        return []
    return [folder / name for name in sorted(names)]
