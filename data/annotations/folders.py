"""A folder for each label, with its recordings: ``seven/ann_3.wav``.

A label that is no name of a folder is written with ``%`` and two hexadecimal digits for each byte
that cannot stand there, as in an address; such a name is read back as that label.
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

FORMAT = "folders"
# In a folder of tracks or recordings that was exported: its rows, with where they are from.
INDEX_FILENAME = "exported.csv"
_MAX_NAME_BYTES = 255
# Letters of all alphabets stand as they are; what a path, a shell or Windows takes amiss does not.
_UNSAFE = re.compile(
    r"""[%/\\:*?"<>|~]|^\.|[. ]$|^(?i:con|prn|aux|nul|com[0-9]|lpt[0-9])(?=\.|$)"""
)


def folder_name(label: str) -> str:
    """The name of a label's folder.

    Raises:
        AnnotationError: it would be longer than a name can be.
    """
    name = _UNSAFE.sub(lambda match: "".join(f"%{b:02X}" for b in match[0].encode()), label)
    if len(name.encode()) > _MAX_NAME_BYTES:
        raise AnnotationError(
            f"the label {label[:40]!r}... is too long for the name of a folder; shorten it"
        )
    return name


def label_from_folder(name: str) -> str:
    """The label of a folder: what its name was written for, or the name as it is."""
    return unquote(name, errors="strict") if _is_encoded(name) else name


def _is_encoded(name: str) -> bool:
    try:
        return folder_name(unquote(name, errors="strict")) == name
    except (UnicodeDecodeError, AnnotationError):
        return False


def read_folders(source: Path) -> AnnotationSet:
    """The recordings below each folder of ``source``; links to folders are not followed.

    Raises:
        AnnotationError: ``source`` holds no folder.
    """
    collected = AnnotationSet()
    provenance = Provenance(f"{FORMAT}:{source.name}")
    names = [entry.name for entry in _entries(source) if entry.is_dir(follow_symlinks=False)]
    if not names:
        raise AnnotationError(f"{source} holds no folder; a folder for each label is wanted")
    for path in walk(source):
        if path == source / INDEX_FILENAME:
            continue
        if not is_audio(path):
            collected.skipped.append(Problem(str(path), "not_audio", "no audio by its suffix"))
        elif path.parent == source:
            collected.skipped.append(
                Problem(str(path), "no_folder", "lies in no folder of a label")
            )
        else:
            label = label_from_folder(path.relative_to(source).parts[0])
            collected.add(Annotation(str(path), path, label, provenance=provenance))
    return collected


def walk(folder: Path) -> Iterator[Path]:
    """All files below a folder, by name; links to folders are not followed."""
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
