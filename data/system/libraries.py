"""Shared libraries that are loaded anew, and the folders that they find by a short path."""

import ctypes
import shutil
import sys
from pathlib import Path

if sys.platform == "win32":
    from _ctypes import FreeLibrary as _unload  # noqa: N813
else:
    from _ctypes import dlclose as _unload


def unload(library: ctypes.CDLL) -> None:
    """Unload a library, for which ctypes has no public function."""
    _unload(library._handle)  # noqa: SLF001


def link_or_copy(folder: Path, target: Path) -> None:
    """Let ``target`` be a folder's other path; a copy where links need a privilege (Windows)."""
    try:
        target.symlink_to(folder, target_is_directory=True)
    except OSError:
        shutil.copytree(folder, target)
