"""The files below a folder: recordings, other files, and those that systems leave behind.

Names with a leading dot (``._a.wav`` of macOS, ``.DS_Store``) and the folders and files that
systems write are passed over, and counted.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from earful.data.annotations.annotation import AnnotationError
from earful.data.audio.containers import AUDIO_SUFFIXES

# macOS archives, Windows, Synology, Linux file systems.
_SYSTEM_NAMES = frozenset(
    {
        "__macosx",
        "thumbs.db",
        "ehthumbs.db",
        "desktop.ini",
        "$recycle.bin",
        "system volume information",
        "@eadir",
        "lost+found",
    }
)


@dataclass(frozen=True)
class FolderFiles:
    """The files below ``folder``, each kind sorted by path.

    ``passed_over`` are hidden files and those of systems, also all below hidden folders.
    """

    folder: Path
    recordings: tuple[Path, ...]
    others: tuple[Path, ...]
    passed_over: tuple[Path, ...]

    def notes(self) -> list[str]:
        """A sentence for the files passed over; none without them."""
        if not self.passed_over:
            return []
        first = self.passed_over[0].relative_to(self.folder).as_posix()
        count = len(self.passed_over)
        if count == 1:
            return [f"1 hidden or system file is passed over: {first}"]
        return [f"{count} hidden and system files are passed over, such as {first}"]


def list_files(folder: Path) -> FolderFiles:
    """All files below a folder; links to folders are not followed.

    Raises:
        AnnotationError: a folder cannot be read.
    """
    recordings: list[Path] = []
    others: list[Path] = []
    passed_over: list[Path] = []
    for path, is_hidden in _walk(folder, hidden=False):
        if is_hidden:
            passed_over.append(path)
        else:
            (recordings if is_audio(path) else others).append(path)
    return FolderFiles(folder, tuple(recordings), tuple(others), tuple(passed_over))


def walk(folder: Path) -> Iterator[Path]:
    """The files below a folder, sorted by name, without those that ``list_files`` passes over."""
    return (path for path, is_hidden in _walk(folder, hidden=False) if not is_hidden)


def is_audio(path: Path) -> bool:
    """Whether the suffix is that of a recording."""
    return path.suffix.lower() in AUDIO_SUFFIXES


def is_system_name(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or written by a system."""
    return name.startswith(".") or name.lower() in _SYSTEM_NAMES


def name_files(paths: Sequence[Path], folder: Path, most: int = 3) -> str:
    """``a.txt, b.txt and 4 more``: the first paths, relative to ``folder``."""
    names = ", ".join(path.relative_to(folder).as_posix() for path in paths[:most])
    return names + (f" and {len(paths) - most} more" if len(paths) > most else "")


def _walk(folder: Path, *, hidden: bool) -> Iterator[tuple[Path, bool]]:
    """Each file, and whether its name or one of its folders' below ``folder`` is hidden."""
    for entry in _entries(folder):
        is_hidden = hidden or is_system_name(entry.name)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), hidden=is_hidden)
        elif entry.is_file():
            yield Path(entry.path), is_hidden


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise AnnotationError(f"cannot read {folder}: {error.strerror}") from error
