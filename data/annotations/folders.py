"""One folder of recordings per label: ``seven/ann_3.wav``.

Characters of a label that are not allowed in a folder name are percent-encoded, as in a URL, and
decoded on reading.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from earful.data.annotations.annotation import (
    Annotation,
    AnnotationError,
    AnnotationSet,
    Problem,
    Provenance,
)
from earful.data.audio.containers import AUDIO_SUFFIXES
from earful.data.labels.wrong_path import pattern_command

FORMAT = "folders"
# Written into exported folders: a labels CSV of their content, with provenance.
INDEX_FILENAME = "exported.csv"
_MAX_NAME_BYTES = 255
# Not allowed in paths, in shells or on Windows. Letters of all alphabets are allowed.
_UNSAFE = re.compile(
    r"""[%/\\:*?"<>|~]|^\.|[. ]$|^(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])(?=\.|$)"""
)


def folder_name(label: str) -> str:
    """The folder name of a label, percent-encoded where needed.

    Raises:
        AnnotationError: the name would be too long.
    """
    name = _UNSAFE.sub(lambda match: "".join(f"%{b:02X}" for b in match[0].encode()), label)
    if len(name.encode()) > _MAX_NAME_BYTES:
        raise AnnotationError(
            f"the label {label[:40]!r}... is too long for a folder name; shorten it"
        )
    return name


def label_from_folder(name: str) -> str:
    """The label of a folder name: decoded if ``folder_name`` encoded it, else the name itself."""
    return unquote(name, errors="strict") if _is_encoded(name) else name


def _is_encoded(name: str) -> bool:
    try:
        return folder_name(unquote(name, errors="strict")) == name
    except (UnicodeDecodeError, AnnotationError):
        return False


def read_folders(source: Path) -> AnnotationSet:
    """Read the recordings in each folder of ``source``; does not follow links to folders.

    Raises:
        AnnotationError: ``source`` contains no folder, or recordings in folders of folders, where
            it is not clear which are labels.
    """
    collected = AnnotationSet()
    provenance = Provenance(f"{FORMAT}:{source.name}")
    names = [entry.name for entry in _entries(source) if entry.is_dir(follow_symlinks=False)]
    if not names:
        raise AnnotationError(f"{source} contains no folder; it needs one folder per label")
    deep: list[Path] = []
    for path in walk(source):
        if path == source / INDEX_FILENAME:
            continue
        if not is_audio(path):
            collected.skipped.append(
                Problem(str(path), "not_audio", "not an audio file by its suffix")
            )
        elif path.parent == source:
            collected.skipped.append(
                Problem(str(path), "no_folder", "is not in the folder of a label")
            )
        elif path.parent.parent != source:
            deep.append(path)
        else:
            label = label_from_folder(path.parent.name)
            collected.add(Annotation(str(path), path, label, provenance=provenance))
    if deep:
        raise AnnotationError(
            f"{len(deep)} recordings of {source} lie in folders of folders (the first: {deep[0]}), "
            "and labels are the folders of one level; say which level it is: "
            f"{pattern_command(source, deep[0].relative_to(source))}"
        )
    return collected


def walk(folder: Path) -> Iterator[Path]:
    """All files below a folder, sorted by name; does not follow links to folders."""
    for entry in _entries(folder):
        if entry.is_dir(follow_symlinks=False):
            yield from walk(Path(entry.path))
        elif entry.is_file():
            yield Path(entry.path)


def is_audio(path: Path) -> bool:
    return path.suffix.lower() in AUDIO_SUFFIXES


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise AnnotationError(f"cannot read {folder}: {error.strerror}") from error
