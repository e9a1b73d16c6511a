"""UrbanSound8K: ``metadata/UrbanSound8K.csv`` beside ``audio/fold1`` to ``fold10``.

Source: UrbanSound8K_README.txt. ``start`` and ``end`` are times in the Freesound recording that a
slice was cut from, not in the slice, and are left aside. The README says CC BY-NC 3.0, copies on
Hugging Face say 4.0. Archives of Kaggle have the table and the folds at the top.
"""

from earful.data.datasets.known_dataset import KnownDataset
from earful.data.datasets.tables import Table, Tables
from earful.data.labels.clip import Clip

_COLUMNS = {"filename": "slice_file_name", "label": "class", "fold": "fold", "speaker": "fsID"}


def _locate(clip: Clip) -> str:
    return f"fold{clip.fold}/{clip.filename}"


URBANSOUND8K = KnownDataset(
    name="UrbanSound8K",
    contents="8,732 clips of 10 urban sounds, up to 4 s",
    marks=("metadata/UrbanSound8K.csv|UrbanSound8K.csv", "audio/fold*/*.wav|fold*/*.wav"),
    read=Tables(
        (
            Table("metadata/UrbanSound8K.csv", "audio", _COLUMNS, locate=_locate),
            Table("UrbanSound8K.csv", "", _COLUMNS, locate=_locate),
        ),
        first_only=True,
    ),
    labels_from=(
        "metadata/UrbanSound8K.csv, label from class, folds from fold, recordings from fsID; start "
        "and end are times in other recordings and left aside"
    ),
    evaluation="10 folds",
    licence="CC BY-NC 3.0",
    link="https://urbansounddataset.weebly.com/urbansound8k.html",
    tables=("metadata/UrbanSound8K.csv", "UrbanSound8K.csv"),
    columns=("slice_file_name", "fsID", "fold", "class"),
    audio_dirs=("audio", "fold*"),
)
