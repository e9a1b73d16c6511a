"""One folder of recordings per label: ``seven/ann_3.wav``, or ``train/seven/ann_3.wav``.

Characters of a label that are not allowed in a folder name are percent-encoded, as in a URL, and
decoded on reading.
"""

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from earful.data.annotations.annotation import AnnotationError, AnnotationSet
from earful.data.annotations.folder_files import FolderFiles, list_files
from earful.data.annotations.folder_layout import find_layout
from earful.data.annotations.folder_names import BACKGROUND_FOLDER
from earful.data.labels.clip import Clip, Provenance

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


def read_folders(source: Path, *, several_labels: bool = False) -> AnnotationSet:
    """Read the recordings in the folders of ``source``; does not follow links to folders.

    A folder for each label, or a folder for each split with a folder for each label inside.
    ``several_labels`` refuses a single label.

    Raises:
        AnnotationError: ``source`` contains no folder, or it is not clear which are labels.
    """
    files = list_files(source)
    collected = AnnotationSet(notes=files.notes())
    collected.skip_other_files(path for path in files.others if path != source / INDEX_FILENAME)
    labelled = [path for path in _without_background(files, collected) if path.parent != source]
    if not labelled:
        raise AnnotationError(f"{source} contains no folder; it needs one folder per label")
    folders = {_folders(path, source) for path in labelled}
    layout = find_layout(source, folders, several_labels=several_labels)
    collected.notes += layout.notes
    for path in labelled:
        names = _folders(path, source)
        collected.add(
            Clip(
                0,
                str(path),
                path,
                label_from_folder(names[layout.label_level]),
                split=layout.splits[names[layout.label_level - 1]] if layout.splits else "",
                provenance=Provenance(f"{FORMAT}:{source.name}"),
            )
        )
    return collected


def _without_background(files: FolderFiles, collected: AnnotationSet) -> list[Path]:
    """The recordings but those of background, and a report on those in no folder."""
    kept: list[Path] = []
    background: list[Path] = []
    for path in files.recordings:
        is_background = BACKGROUND_FOLDER in _folders(path, files.folder)
        (background if is_background else kept).append(path)
        if path.parent == files.folder:
            collected.skip(str(path), "no_folder", "is not in the folder of a label")
    collected.notes += background_notes(background)
    return kept


def background_notes(recordings: Sequence[Path]) -> list[str]:
    """A note on recordings of ``_background_noise_``: they are no label, and what they serve."""
    if not recordings:
        return []
    folder = recordings[0].parent
    return [
        f"{len(recordings)} recordings of {folder.name} are background, not a label, and are left "
        f"out; they serve `earful evaluate --noise-test --noise-dir {shlex.quote(str(folder))}`"
    ]


def _folders(path: Path, source: Path) -> tuple[str, ...]:
    return path.relative_to(source).parts[:-1]
