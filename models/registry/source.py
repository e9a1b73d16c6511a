"""What serves: a file, or a name in the registry whose alias is followed."""

import stat
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from earful.models.bundle.metadata import ModelError
from earful.models.registry.catalogue import is_model_name
from earful.models.registry.errors import RegistryError
from earful.models.registry.records import CHAMPION, MODEL_FILE
from earful.models.registry.registry import Registry


@dataclass(frozen=True)
class ResolvedModel:
    """A model file, what it is called, and its number where it is a version of a registry."""

    path: Path
    name: str
    number: int | None = None


@dataclass(frozen=True)
class ModelMissing:
    """Why there is no model at present."""

    reason: str


class ModelSource(Protocol):
    """Where a model comes from; another one may be there later."""

    def change_tag(self) -> Hashable:
        """What is another value once another model is there; ``Missing`` while there is none."""
        ...

    def resolve(self) -> ResolvedModel:
        """The model that is there now.

        Raises:
            EarfulError: there is none, or it is damaged.
        """
        ...


@dataclass(frozen=True)
class FileSource:
    """A file that may be replaced; a link to it is followed."""

    path: Path

    def change_tag(self) -> Hashable:
        missing = ModelMissing(f"{self.path} is no regular file any more")
        try:
            status = self.path.stat()
        except OSError:
            return missing
        if not stat.S_ISREG(status.st_mode):  # a pipe would be waited for, for ever
            return missing
        return status.st_mtime_ns, status.st_ino, status.st_size

    def resolve(self) -> ResolvedModel:
        return ResolvedModel(self.path, self.path.stem)


@dataclass(frozen=True)
class RegistrySource:
    """A version of a registry: that of an alias, which may be moved, or one by its number."""

    registry: Registry
    name: str
    version_or_alias: str = CHAMPION

    def change_tag(self) -> Hashable:
        try:
            version = self.registry.version(self.name, self.version_or_alias)
        except RegistryError as error:
            return ModelMissing(str(error))
        return version.number, version.files[MODEL_FILE]

    def resolve(self) -> ResolvedModel:
        version = self.registry.version(self.name, self.version_or_alias)
        path = self.registry.local_copy(self.name, version, MODEL_FILE)
        return ResolvedModel(path, self.name, version.number)


def open_source(model: str, registry: str) -> ModelSource:
    """The source that a model's file name, or NAME, NAME@ALIAS or NAME@NUMBER, stands for.

    Raises:
        ModelError: there is neither such a file nor such a version; the message says both.
    """
    if _is_file(Path(model)):
        return FileSource(Path(model).absolute())
    name, _, version_or_alias = model.partition("@")
    if not is_model_name(name):
        raise ModelError(
            f"no model file {model}; give one with --model, or a name in the registry, or make one "
            "with `earful export RUN --out model.onnx`"
        )
    try:
        source = RegistrySource(Registry(registry), name, version_or_alias or CHAMPION)
        source.registry.version(name, source.version_or_alias)
    except RegistryError as error:
        raise ModelError(f"no model file {model}, and {error}") from error
    return source


def _is_file(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):  # a name too long, say
        return False
