"""EmoDB, the Berlin database: ``wav/03a01Fa.wav``: speaker, text, emotion and version.

Source: emodb.bilderbar.info/docu. The letter is the German word: Wut, Langeweile, Ekel, Angst,
Freude, Trauer, neutral. The site names no licence; the copy on Zenodo (record 7447302) is
CC BY 4.0.
"""

import re

from earful.data.datasets.file_names import FileNames
from earful.data.datasets.known_dataset import KnownDataset

_EMOTIONS = {
    "W": "anger",
    "L": "boredom",
    "E": "disgust",
    "A": "fear",
    "F": "happiness",
    "T": "sadness",
    "N": "neutral",
}

EMODB = KnownDataset(
    name="EmoDB",
    contents="535 clips of German speech, 7 emotions, 10 actors",
    marks=("wav/[01][0-9][ab][01][0-9][WLEAFTN]*.wav",),
    read=FileNames(
        # A name without a version letter is a text that was recorded once.
        re.compile(r"wav/(?P<speaker>[0-9]{2})[ab][0-9]{2}(?P<label>[A-Z])[a-z]?\.wav"),
        _EMOTIONS,
    ),
    labels_from="label from the sixth letter of the file names, speaker from the first two digits",
    evaluation="none; by actor",
    licence="none on its site; CC BY 4.0 on Zenodo",
    link="http://emodb.bilderbar.info/docu/",
    audio_dirs=("wav",),
)
