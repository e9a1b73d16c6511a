"""FSD50K: ``FSD50K.ground_truth/dev.csv`` and ``eval.csv`` beside ``FSD50K.dev_audio/``, ...

Source: the dataset's page on Zenodo (record 4060432). Clips have several labels, also those above
in the ontology; ``fname`` has no suffix. Clips have licences of their own (CC0, CC BY, CC BY-NC,
CC Sampling+), named in FSD50K.metadata; the collection is CC BY 4.0.
"""

from earful.data.datasets.known_dataset import KnownDataset
from earful.data.datasets.tables import Table, Tables
from earful.data.labels.clip import Clip

_DEV, _EVAL = "FSD50K.ground_truth/dev.csv", "FSD50K.ground_truth/eval.csv"
_COLUMNS = {"filename": "fname", "label": "labels"}


def _locate(clip: Clip) -> str:
    return clip.filename if clip.filename.endswith(".wav") else f"{clip.filename}.wav"


FSD50K = KnownDataset(
    name="FSD50K",
    contents="51,197 clips of 200 sounds, several labels each, 0.3 to 30 s",
    marks=(f"{_DEV}|{_EVAL}", "FSD50K.dev_audio/*.wav|FSD50K.eval_audio/*.wav"),
    read=Tables(
        (
            Table(
                _DEV,
                "FSD50K.dev_audio",
                {**_COLUMNS, "split": "split"},
                label_separator=",",
                locate=_locate,
            ),
            Table(
                _EVAL,
                "FSD50K.eval_audio",
                _COLUMNS,
                label_separator=",",
                split="test",
                locate=_locate,
            ),
        )
    ),
    labels_from=(
        "FSD50K.ground_truth, several labels from labels, train and val from split, eval.csv is "
        "the test part"
    ),
    evaluation="split: train, val and eval",
    licence="CC BY 4.0; clips CC0 to CC BY-NC",
    link="https://zenodo.org/records/4060432",
    tables=(_DEV, _EVAL),
    columns=("fname", "labels"),
    audio_dirs=("FSD50K.dev_audio", "FSD50K.eval_audio"),
)
