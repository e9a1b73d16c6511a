"""AudioMNIST: ``data/01/0_01_0.wav``, the digit, the speaker and the repetition.

Source: README and preprocess_data.py of github.com/soerenab/AudioMNIST; the five folds are the
test speakers of the splits ``digit``.
"""

import re

from earful.data.datasets.file_names import FileNames
from earful.data.datasets.known_dataset import KnownDataset

_TEST_SPEAKERS = (
    (26, 52, 60, 18, 32, 42, 5, 13, 22, 33, 45, 51),
    (28, 56, 7, 19, 35, 1, 6, 16, 23, 34, 46, 53),
    (36, 57, 9, 24, 37, 2, 8, 17, 29, 39, 48, 54),
    (43, 58, 14, 25, 38, 3, 10, 20, 30, 40, 49, 55),
    (12, 47, 59, 15, 27, 41, 4, 11, 21, 31, 44, 50),
)
_FOLD_OF = {
    speaker: str(fold) for fold, speakers in enumerate(_TEST_SPEAKERS, 1) for speaker in speakers
}


def _fold(match: re.Match[str]) -> str:
    return _FOLD_OF.get(int(match["speaker"]), "")


AUDIO_MNIST = KnownDataset(
    name="AudioMNIST",
    contents="30,000 clips of 10 spoken digits, 60 speakers",
    marks=("data/[0-6][0-9]/[0-9]_[0-6][0-9]_*.wav",),
    read=FileNames(
        re.compile(r"data/[0-9]{2}/(?P<label>[0-9])_(?P<speaker>[0-9]{2})_[0-9]+\.wav"),
        fold=_fold,
    ),
    labels_from="label and speaker from the file names, folds of speakers from its paper",
    evaluation="5 folds of speakers",
    licence="MIT",
    link="https://github.com/soerenab/AudioMNIST",
    audio_dirs=("data",),
)
