"""BirdCLEF: ``train_metadata.csv`` beside ``train_audio/`` or ``train_short_audio/`` (2021).

Source: the competitions' data pages. ``filename`` has the folder of the species since 2022. The
label is the species in the foreground; ``secondary_labels`` are those in the background. The
soundscapes of the test part are not public. Recordings have licences of Xeno-canto.
"""

from dataclasses import replace
from pathlib import Path

from earful.data.datasets.known_dataset import KnownDataset
from earful.data.datasets.rare_labels import without_rare_labels
from earful.data.datasets.tables import Table, read_table_clips
from earful.data.labels.clip import Clip, LabelledClips
from earful.data.labels.csv_options import CsvOptions

_TABLE = "train_metadata.csv"
_FOLDERS = ("train_audio", "train_short_audio")
_COLUMNS = {"filename": "filename", "label": "primary_label", "speaker": "author"}


def _read(root: Path, options: CsvOptions, _table: str) -> LabelledClips:
    folder = next(name for name in _FOLDERS if (root / name).is_dir())
    description = Table(_TABLE, folder, _COLUMNS, optional=("speaker",), locate=_locate)
    labelled = without_rare_labels(read_table_clips(root, description, options))
    # Many species have one author: a split by speaker, which is the default where there are
    # speakers, would leave them without training clips. `--split speaker` still works.
    return replace(labelled, columns=labelled.columns - {"speaker"})


def _locate(clip: Clip) -> str:
    return clip.filename if "/" in clip.filename else f"{clip.label}/{clip.filename}"


BIRDCLEF = KnownDataset(
    name="BirdCLEF",
    contents="15,000 to 62,000 recordings of 150 to 400 species (2021 to 2025)",
    marks=(_TABLE, "train_audio|train_short_audio"),
    read=_read,
    labels_from=(
        "train_metadata.csv, label from primary_label (secondary_labels are left aside), speaker "
        "from author"
    ),
    evaluation="none public",
    licence="CC by recording (Xeno-canto), mostly BY-NC-SA",
    link="https://www.kaggle.com/competitions?searchQuery=birdclef",
    tables=(_TABLE,),
    columns=("primary_label", "filename"),
    audio_dirs=_FOLDERS,
)
