"""ESC-50: ``meta/esc50.csv`` beside ``audio/``.

Source: README of github.com/karolpiczak/ESC-50. Clips cut from one Freesound recording are in one
fold. Its LICENSE is CC BY-NC 3.0; the subset ESC-10 is CC BY 3.0. Archives of Kaggle have the table
at the top and ``audio/audio/``.
"""

from earful.data.datasets.known_dataset import KnownDataset
from earful.data.datasets.tables import Table, Tables

_COLUMNS = {"filename": "filename", "label": "category", "fold": "fold", "speaker": "src_file"}

ESC50 = KnownDataset(
    name="ESC-50",
    contents="2,000 clips of 50 environmental sounds",
    marks=("meta/esc50.csv|esc50.csv", "audio/*.wav|audio/audio/*.wav"),
    read=Tables(
        (
            Table("meta/esc50.csv", "audio", _COLUMNS, optional=("speaker",)),
            Table("esc50.csv", "audio/audio", _COLUMNS, optional=("speaker",)),
        ),
        first_only=True,
    ),
    labels_from="meta/esc50.csv, label from category, folds from fold, recordings from src_file",
    evaluation="5 folds",
    licence="CC BY-NC 3.0",
    link="https://github.com/karolpiczak/ESC-50",
    tables=("meta/esc50.csv", "esc50.csv"),
    columns=("filename", "fold", "category"),
    audio_dirs=("audio", "audio/audio"),
)
