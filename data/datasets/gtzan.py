"""GTZAN: ``genres_original/blues/blues.00000.wav``, or ``genres/blues/blues.00000.au``.

jazz.00054.wav is broken in the archive of Kaggle, and whole in the original one. There is no
official split; clips of one artist and copies of clips are known (Sturm, arXiv:1306.1461), so
figures of random splits are too high. Neither its page nor its card on Hugging Face names a
licence; copies that say MIT are of other people.
"""

import re
from dataclasses import replace
from pathlib import Path

from earful.data.audio.decode import AudioError, decode, read_file
from earful.data.datasets.file_names import FileNames
from earful.data.datasets.known_dataset import KnownDataset
from earful.data.labels.clip import LabelledClips
from earful.data.labels.csv_options import CsvOptions

_RATE_HZ = 22_050
_BROKEN = "jazz.00054.wav"
_PLACES = (("genres_original/*/*", "wav"), ("genres/*/*", "wav"), ("genres/*/*", "au"))
_NAMES = FileNames(
    re.compile(r"(?:genres_original|genres)/(?P<label>[a-z]+)/[a-z]+\.[0-9]{5}\.(?:wav|au)")
)


def _read(root: Path, options: CsvOptions, _table: str) -> LabelledClips:
    labelled = _NAMES(root, options)
    broken = {
        clip.path: _problem(clip.path) for clip in labelled.clips if clip.path.name == _BROKEN
    }
    kept = tuple(clip for clip in labelled.clips if not broken.get(clip.path))
    notes = [
        f"{path.name} is known to be broken in this archive and is left out ({problem})"
        for path, problem in broken.items()
        if problem
    ]
    return replace(labelled, clips=kept, notes=(*labelled.notes, *notes))


def _problem(path: Path) -> str:
    try:
        decode(read_file(path), _RATE_HZ)
    except AudioError as error:
        return str(error)
    return ""


GTZAN = KnownDataset(
    name="GTZAN",
    contents="1,000 clips of 10 genres of music, 30 s",
    marks=("|".join(f"{folder}.[0-9][0-9][0-9][0-9][0-9].{suffix}" for folder, suffix in _PLACES),),
    read=_read,
    labels_from="label from the folders",
    evaluation="none",
    licence="none stated",
    link="http://marsyas.info/downloads/datasets.html",
    tables=("features_30_sec.csv",),
    audio_dirs=("genres_original", "genres"),
)
