"""FSDD, the Free Spoken Digit Dataset: ``recordings/7_jackson_32.wav``.

Source: README of github.com/Jakobovski/free-spoken-digit-dataset, which also sets the test part:
recordings 0 to 4 of each digit and speaker.
"""

import re

from earful.data.datasets.file_names import FileNames
from earful.data.datasets.known_dataset import KnownDataset

# A folder of somebody's own digits has the same form of names, and another licence.
_SPEAKERS = ("jackson", "nicolas", "theo", "yweweler", "george", "lucas")
_LAST_TEST_RECORDING = 4


def _split(match: re.Match[str]) -> str:
    return "test" if int(match["n"]) <= _LAST_TEST_RECORDING else "train"


FSDD = KnownDataset(
    name="FSDD",
    contents="3,000 clips of 10 spoken digits, 6 speakers",
    marks=("|".join(f"recordings/[0-9]_{name}_*.wav" for name in _SPEAKERS),),
    read=FileNames(
        re.compile(r"recordings/(?P<label>[0-9])_(?P<speaker>[a-z]+)_(?P<n>[0-9]+)\.wav"),
        split=_split,
    ),
    labels_from="label and speaker from the file names, recordings 0-4 are the test part",
    evaluation="split: recordings 0-4 are the test part, of the same speakers",
    licence="CC BY-SA 4.0",
    link="https://github.com/Jakobovski/free-spoken-digit-dataset",
    audio_dirs=("recordings",),
)
