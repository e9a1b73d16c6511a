"""RAVDESS: ``Actor_12/03-01-06-01-02-01-12.wav``; the third field is the emotion.

Source: the dataset's page on Zenodo (record 1188976). Fields: modality (03: audio only), channel
(01 speech, 02 song), emotion, intensity, statement, repetition, actor. The archive of Kaggle holds
everything twice; the copy in the inner folder is left out.
"""

import re

from earful.data.datasets.file_names import FileNames
from earful.data.datasets.known_dataset import KnownDataset

_EMOTIONS = {
    "01": "neutral",
    "02": "calm",
    "03": "happy",
    "04": "sad",
    "05": "angry",
    "06": "fearful",
    "07": "disgust",
    "08": "surprised",
}

RAVDESS = KnownDataset(
    name="RAVDESS",
    contents="1,440 clips of speech (1,012 of song), 8 emotions, 24 actors",
    marks=("Actor_[0-2][0-9]/03-0[12]-*.wav",),
    read=FileNames(
        re.compile(
            r"Actor_[0-9]{2}/03-0[12]-(?P<label>[0-9]{2})(?:-[0-9]{2}){3}-(?P<speaker>[0-9]{2})\.wav"
        ),
        _EMOTIONS,
    ),
    labels_from="label from the third field of the file names, speaker from the last",
    evaluation="none; by actor",
    licence="CC BY-NC-SA 4.0",
    link="https://zenodo.org/records/1188976",
    audio_dirs=("Actor_[0-2][0-9]",),
)
