"""Where a served model comes from: a file, or a registry name whose alias is followed."""

import stat
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from earful.data.errors import command, did_you_mean, did_you_mean_path
from earful.models.bundle.metadata import ModelError
from earful.models.registry.catalogue import is_model_name
from earful.models.registry.errors import RegistryError
from earful.models.registry.records import CHAMPION, MODEL_FILE
from earful.models.registry.registry import Registry
from earful.models.registry.shipped import SHIPPED_MODELS


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


@dataclass(frozen=True)
class RegistrySource:
    """A registry version, by an alias that may move or by its number."""

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
    """The source for a file name, NAME, NAME@ALIAS or NAME@NUMBER, or a shipped model's name.

    Raises:
        ModelError: there is neither such a file nor such a version in the registry.
    """
    if _is_file(Path(model)):
        return FileSource(Path(model).absolute())
    name, _, version_or_alias = model.partition("@")
    if not is_model_name(name):
        _refuse_folder(Path(model))
        raise ModelError(
            f"no model file {model}{did_you_mean_path(Path(model))}; set --model to a file or to a "
            "name in the registry, or create one with `earful export RUN --out model.onnx`"
        )
    try:
        source = RegistrySource(Registry(registry), name, version_or_alias or CHAMPION)
        if model in SHIPPED_MODELS and model not in source.registry.names():
            _refuse_folder(Path(model))
            return FileSource(SHIPPED_MODELS[model])
        source.registry.version(name, source.version_or_alias)
    except RegistryError as error:
        _refuse_folder(Path(model))
        hint = did_you_mean_path(Path(model)) or did_you_mean(model, SHIPPED_MODELS)
        raise ModelError(f"no model file {model}{hint}, and {error}") from error
    return source


def _refuse_folder(folder: Path) -> None:
    """Refuse a run or a dataset, naming the command that makes a model file of it."""
    if _is_file(folder / "best.pt"):
        raise ModelError(
            f"{folder} is a run, not a model file; export it first: "
            f"{command('export', folder, '--out', 'model.onnx')}"
        )
    if _is_file(folder / "dataset.json"):
        raise ModelError(
            f"{folder} is a dataset, not a model file; train and export one: "
            f"{command('train', folder, '--out', 'RUN')}"
        )


def _is_file(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):  # for example a name that is too long
        return False
