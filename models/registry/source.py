"""Where a served model comes from: a file, or a registry name whose alias is followed."""

import stat
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class ResolvedModel:
    """A model file, its name, and its version number if it comes from a registry."""

    path: Path
    name: str
    number: int | None = None


@dataclass(frozen=True)
class ModelMissing:
    """Why there is currently no model."""

    reason: str


class ModelSource(Protocol):
    """Where a model comes from; it may change at any time."""

    def change_tag(self) -> Hashable:
        """A value that changes when the model changes; ``ModelMissing`` while there is none.

        Raises:
            OSError: the place of the model cannot be read.
        """
        ...

    def resolve(self) -> ResolvedModel:
        """The current model.

        Raises:
            EarfulError: there is none, or it is damaged.
        """
        ...


@dataclass(frozen=True)
class FileSource:
    """A file that may be replaced; symbolic links are followed."""

    path: Path

    def change_tag(self) -> Hashable:
        missing = ModelMissing(f"{self.path} is no longer a regular file")
        try:
            status = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return missing
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would block
            return missing
        return status.st_mtime_ns, status.st_ino, status.st_size

    def resolve(self) -> ResolvedModel:
        return ResolvedModel(self.path, self.path.stem)


def open_source(model: str, registry: str) -> ModelSource:
    """The source for a file name, NAME, NAME@ALIAS or NAME@NUMBER, or a shipped model's name.

    Raises:
        ModelError: there is neither such a file nor such a version in the registry.
    """
    if is_file(Path(model)):
        return FileSource(Path(model).absolute())
    from earful.models.registry.registry_source import open_by_name  # a file takes no registry

    return open_by_name(model, registry)


def is_file(path: Path) -> bool:
    """Whether there is anything but a folder at a path, which may be any text."""
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):  # for example a name that is too long
        return False
