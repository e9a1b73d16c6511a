"""A model of the registry, by its name: an alias is followed."""

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from earful.data.errors import command, did_you_mean, did_you_mean_path
from earful.models.bundle.metadata import ModelError
from earful.models.registry.catalogue import is_model_name
from earful.models.registry.errors import RegistryError
from earful.models.registry.records import CHAMPION, MODEL_FILE
from earful.models.registry.registry import Registry
from earful.models.registry.shipped import SHIPPED_MODELS
from earful.models.registry.source import (
    FileSource,
    ModelMissing,
    ModelSource,
    ResolvedModel,
    is_file,
)


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


def open_by_name(model: str, registry: str) -> ModelSource:
    """The source for NAME, NAME@ALIAS or NAME@NUMBER, or a shipped model's name.

    Raises:
        ModelError: there is no such version in the registry.
    """
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
    if is_file(folder / "best.pt"):
        raise ModelError(
            f"{folder} is a run, not a model file; export it first: "
            f"{command('export', folder, '--out', 'model.onnx')}"
        )
    if is_file(folder / "dataset.json"):
        raise ModelError(
            f"{folder} is a dataset, not a model file; train and export one: "
            f"{command('train', folder, '--out', 'RUN')}"
        )
