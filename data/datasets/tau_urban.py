"""TAU Urban Acoustic Scenes (DCASE task 1): ``meta.csv``, ``audio/`` and ``evaluation_setup/``.

Source: README.html of the archives and the DCASE pages. Tables are separated by tabs. The official
split is fold 1: fold1_train.csv to train on, fold1_evaluate.csv to test; recordings of meta.csv in
neither (a third in 2020) are not used.
"""

from dataclasses import replace
from pathlib import Path

from earful.data.datasets.known_dataset import KnownDataset
from earful.data.datasets.tables import Table, read_table_clips
from earful.data.labels.clip import Clip, LabelledClips
from earful.data.labels.csv_options import CsvOptions

_TABLE = "meta.csv"
_LISTS = {
    "train": "evaluation_setup/fold1_train.csv",
    "test": "evaluation_setup/fold1_evaluate.csv",
}
_COLUMNS = {"filename": "filename", "label": "scene_label", "speaker": "identifier"}


def _read(root: Path, options: CsvOptions, _table: str) -> LabelledClips:
    description = Table(_TABLE, "", _COLUMNS, optional=("speaker",))
    labelled = read_table_clips(root, description, options)
    splits = {name: split for split, text in _LISTS.items() for name in _listed_names(root / text)}
    clips = [_with_split(clip, splits) for clip in labelled.clips if clip.filename in splits]
    unused = len(labelled.clips) - len(clips)
    notes = [f"{unused} recordings are in neither part of fold 1 and are left out"] * bool(unused)
    return LabelledClips.of_clips(clips, labelled.problems, notes)


def _with_split(clip: Clip, splits: dict[str, str]) -> Clip:
    return replace(clip, split=splits[clip.filename])


def _listed_names(path: Path) -> list[str]:
    """The first column of a table without its header; none where the table is not there."""
    if not path.is_file():
        return []
    lines = path.read_text("utf-8-sig", errors="replace").splitlines()[1:]
    return [line.split("\t")[0].strip() for line in lines if line.strip()]


TAU_URBAN = KnownDataset(
    name="TAU Urban Acoustic Scenes",
    contents="14,400 clips (2019), 23,040 (2020), 230,350 (2022) of 10 scenes",
    marks=(_TABLE, _LISTS["train"], _LISTS["test"], "audio/*.wav"),
    read=_read,
    labels_from="meta.csv, label from scene_label, place from identifier, split from fold 1",
    evaluation="split: fold 1 of evaluation_setup",
    licence="its own, for research, non-commercial",
    link="https://zenodo.org/records/3819968",
    tables=(_TABLE,),
    columns=("filename", "scene_label"),
    audio_dirs=("audio",),
)
