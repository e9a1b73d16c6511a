"""The files below a folder: recordings, other files, and what is not read, which is counted.

Passed over are hidden files (``._a.wav`` of macOS), those that systems write, and links to folders.
"""

import errno
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from earful.data.annotations.annotation import AnnotationError
from earful.data.audio.containers import AUDIO_SUFFIXES
from earful.data.audio.system_files import is_system_name

_Kind = Literal["file", "passed over", "link", "empty"]


@dataclass(frozen=True)
class FolderFiles:
    """What lies below ``folder``, each kind sorted by path.

    ``passed_over`` are hidden files and those of systems, also all below hidden folders; ``links``
    are those to folders and to files that are not there; ``empty`` are folders without any entry.
    """

    folder: Path
    recordings: tuple[Path, ...]
    others: tuple[Path, ...]
    passed_over: tuple[Path, ...]
    links: tuple[Path, ...] = ()
    empty: tuple[Path, ...] = ()

    def notes(self) -> list[str]:
        """A sentence for each kind of what is not read."""
        kinds = (
            (
                self.passed_over,
                "hidden or system file is",
                "hidden and system files are",
                "passed over",
            ),
            (
                self.links,
                "link to a folder or a missing file is",
                "links to folders or missing files are",
                "not followed",
            ),
            (self.empty, "folder without files is", "folders without files are", "no label"),
        )
        return [_note(paths, self.folder, *words) for paths, *words in kinds if paths]


def _note(paths: Sequence[Path], folder: Path, one: str, many: str, what: str) -> str:
    first = paths[0].relative_to(folder).as_posix()
    if len(paths) == 1:
        return f"1 {one} {what}: {first}"
    return f"{len(paths)} {many} {what}, such as {first}"


def list_files(folder: Path) -> FolderFiles:
    """All files below a folder; links to folders are not followed.

    Raises:
        AnnotationError: a folder cannot be read.
    """
    found: dict[_Kind, list[Path]] = {"file": [], "passed over": [], "link": [], "empty": []}
    for path, kind in _walk(folder):
        found[kind].append(path)
    files = found["file"]
    return FolderFiles(
        folder,
        recordings=tuple(path for path in files if is_audio(path)),
        others=tuple(path for path in files if not is_audio(path)),
        passed_over=tuple(found["passed over"]),
        links=tuple(found["link"]),
        empty=tuple(found["empty"]),
    )


def walk(folder: Path) -> Iterator[Path]:
    """The files below a folder, sorted by name, without those that ``list_files`` passes over."""
    return (path for path, kind in _walk(folder) if kind == "file")


def is_audio(path: Path) -> bool:
    """Whether the suffix is that of a recording."""
    return path.suffix.lower() in AUDIO_SUFFIXES


def name_files(paths: Sequence[Path], folder: Path, most: int = 3) -> str:
    """``a.txt, b.txt and 4 more``: the first paths, relative to ``folder``."""
    names = ", ".join(path.relative_to(folder).as_posix() for path in paths[:most])
    return names + (f" and {len(paths) - most} more" if len(paths) > most else "")


@dataclass
class _OpenFolder:
    """A folder whose entries are being read; ``is_empty`` while none is found in or below it."""

    path: Path
    hidden: bool
    entries: Iterator["os.DirEntry[str]"]
    is_empty: bool = True


def _walk(folder: Path) -> Iterator[tuple[Path, _Kind]]:
    """Each file, link and empty folder below ``folder``; of a hidden folder all is hidden.

    A stack and no recursion: folders may lie within each other deeper than Python's calls may.
    """
    stack = [_OpenFolder(folder, False, _entries(folder))]
    while stack:
        current = stack[-1]
        entry = next(current.entries, None)
        if entry is None:
            stack.pop()
            if stack and current.is_empty and not current.hidden:
                current.is_empty = False
                yield current.path, "empty"
            if stack and not current.is_empty:
                stack[-1].is_empty = False
            continue
        path, hidden = Path(entry.path), current.hidden or is_system_name(entry.name)
        if entry.is_dir(follow_symlinks=False):
            stack.append(_OpenFolder(path, hidden, _entries(path)))
        elif (kind := _kind_of(entry, hidden=hidden)) is not None:
            current.is_empty = False
            yield path, kind


def _kind_of(entry: "os.DirEntry[str]", *, hidden: bool) -> _Kind | None:
    if entry.is_file():
        return "passed over" if hidden else "file"
    return "link" if entry.is_symlink() and not hidden else None


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            return iter(sorted(entries, key=lambda entry: entry.name))
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise AnnotationError(
                f"{str(folder)[:60]}... has folders within each other that are too deep: a path "
                "has at most 4,096 characters; move them up, or leave them out"
            ) from error
        raise AnnotationError(f"cannot read {folder}: {error.strerror}") from error
