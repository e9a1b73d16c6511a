"""CREMA-D: ``AudioWAV/1001_DFA_ANG_XX.wav``: actor, sentence, emotion and level.

Source: README of github.com/CheyneyComputerScience/CREMA-D. Its licence file is the Open Database
License; some copies say Open Data Commons Attribution.
"""

import re

from earful.data.datasets.file_names import FileNames
from earful.data.datasets.known_dataset import KnownDataset

_EMOTIONS = {
    "ANG": "anger",
    "DIS": "disgust",
    "FEA": "fear",
    "HAP": "happy",
    "NEU": "neutral",
    "SAD": "sad",
}

CREMA_D = KnownDataset(
    name="CREMA-D",
    contents="7,442 clips of speech, 6 emotions, 91 actors",
    marks=("AudioWAV/1[0-9][0-9][0-9]_[A-Z][A-Z][A-Z]_[A-Z][A-Z][A-Z]_*.wav",),
    read=FileNames(
        # One name has the level X in place of XX.
        re.compile(r"AudioWAV/(?P<speaker>1[0-9]{3})_[A-Z]{3}_(?P<label>[A-Z]{3})_[A-Z]{1,2}\.wav"),
        _EMOTIONS,
    ),
    labels_from="label from the third field of the file names, speaker from the first",
    evaluation="none; by actor",
    licence="ODbL 1.0",
    link="https://github.com/CheyneyComputerScience/CREMA-D",
    audio_dirs=("AudioWAV",),
)
