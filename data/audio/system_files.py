"""Files and folders that systems write beside recordings; they are no recordings."""

import os
from collections.abc import Iterator
from pathlib import Path

_NAMES = frozenset(
    {"__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "$recycle.bin",
     "system volume information", "lost+found", "@eadir"}
)  # fmt: skip


def is_system_name(name: str) -> bool:
    """Whether a name is hidden (``._a.wav`` of macOS is) or one that a system gives."""
    return name.startswith(".") or name.casefold() in _NAMES


def walk_folders(root: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """As ``os.walk``, which in Python 3.11 ends at a thousand folders within each other."""
    pending = [str(root)]
    while pending:
        listed = next(iter(os.walk(pending.pop())), None)
        if listed is not None:  # else it cannot be read
            yield listed
            parent, folders, _ = listed  # the caller may have changed the folders
            below = (Path(parent, name) for name in reversed(folders))
            pending += [str(path) for path in below if not path.is_symlink()]


def visible_files(root: Path) -> Iterator[str]:
    """The files below a folder, relative to it with ``/``; not hidden ones and those of systems."""
    for parent, folders, names in walk_folders(root):
        folders[:] = sorted(name for name in folders if not is_system_name(name))
        prefix = os.path.relpath(parent, root).replace(os.sep, "/") + "/"
        for name in sorted(names):
            if not is_system_name(name):
                yield (prefix + name).removeprefix("./")
