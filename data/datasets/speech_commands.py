"""Speech Commands: a folder a word, ``validation_list.txt`` and ``testing_list.txt``.

Source: README.md of the archive and torchaudio's SPEECHCOMMANDS. Recordings in neither list are
the training part. ``_background_noise_`` holds minutes of noise, not a word. The part of a name
before ``_nohash_`` is the hash of the speaker.
"""

from dataclasses import replace
from pathlib import Path

from earful.data.annotations.folder_files import list_files
from earful.data.annotations.folder_names import BACKGROUND_FOLDER
from earful.data.annotations.folders import background_notes
from earful.data.datasets.file_names import others_note, refuse_columns
from earful.data.datasets.known_dataset import KnownDataset
from earful.data.labels.clip import Clip, LabelledClips
from earful.data.labels.csv_options import CsvOptions

_LISTS = {"val": "validation_list.txt", "test": "testing_list.txt"}
_SPEAKER_ENDS = "_nohash_"


def _read(root: Path, options: CsvOptions, _table: str) -> LabelledClips:
    refuse_columns(root, options)
    files = list_files(root)
    inside = [path for path in files.recordings if path.parent.parent == root]
    background = [path for path in inside if path.parent.name == BACKGROUND_FOLDER]
    words = [path for path in inside if path.parent.name != BACKGROUND_FOLDER]
    others = [path for path in files.recordings if path.parent.parent != root]
    listed = {name: split for split, text in _LISTS.items() for name in _listed_names(root / text)}
    clips = [replace(clip, split=listed.get(clip.filename, "train")) for clip in _clips(words)]
    absent = len(listed.keys() - {clip.filename for clip in clips})
    notes = [*files.notes(), *background_notes(background), *others_note(others, root)]
    if absent:
        notes.append(f"{absent} of the {len(listed)} names in the two lists have no file here")
    return LabelledClips.of_clips(clips, (), notes)


def _listed_names(path: Path) -> list[str]:
    """The last two parts of each line, ``right/a69b9b3e_nohash_0.wav``."""
    lines = path.read_text("utf-8", errors="replace").split()
    return ["/".join(line.replace("\\", "/").split("/")[-2:]) for line in lines]


def _clips(words: list[Path]) -> list[Clip]:
    return [
        Clip(0, f"{path.parent.name}/{path.name}", path, path.parent.name, _speaker(path.name))
        for path in words
    ]


def _speaker(name: str) -> str:
    speaker, ends, _ = name.partition(_SPEAKER_ENDS)
    return speaker if ends else ""


SPEECH_COMMANDS = KnownDataset(
    name="Speech Commands",
    contents="105,829 clips of 35 words (v0.02), 1 s",
    marks=(*_LISTS.values(), "*/*.wav"),
    read=_read,
    labels_from="label from the folders, val and test from the two lists, speaker before _nohash_",
    evaluation="split: validation_list.txt, testing_list.txt",
    licence="CC BY 4.0",
    link="https://www.tensorflow.org/datasets/catalog/speech_commands",
)
