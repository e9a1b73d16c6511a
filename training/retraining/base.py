"""The champion that a retraining starts from, with its data."""

from dataclasses import dataclass
from pathlib import Path

from earful.data.labels.clip import Clip
from earful.models.bundle.bundle import open_bundle
from earful.models.bundle.metadata import ModelMetadata
from earful.models.registry.records import CHAMPION, DATA_FILE, MODEL_FILE, Version
from earful.models.registry.registry import Registry
from earful.training.config.train_config import TrainingError
from earful.training.releases.manifest import from_csv


@dataclass(frozen=True)
class BaseVersion:
    """The champion: version, model file with its metadata, and data."""

    version: Version
    model: Path
    metadata: ModelMetadata
    rows: list[Clip]


def champion_labels(registry: Registry, name: str) -> tuple[str, ...]:
    """The labels of a model's champion.

    Raises:
        RegistryError: there is no champion, or it is damaged.
    """
    version = registry.version(name, CHAMPION)
    return open_bundle(registry.local_copy(name, version, MODEL_FILE)).metadata.labels


def open_base(registry: Registry, name: str) -> BaseVersion:
    """Read the champion of a model.

    Raises:
        RegistryError: there is no champion, or it is damaged.
        TrainingError: it was registered without its data, or is INT8.
    """
    version = registry.version(name, CHAMPION)
    if DATA_FILE not in version.files:
        raise TrainingError(
            f"version {version.number} of {name} was registered without its data; register it "
            f"with `earful models register {name} RUN --data DATASET --promote`"
        )
    model = registry.local_copy(name, version, MODEL_FILE)
    metadata = open_bundle(model).metadata
    if metadata.quantization is not None:
        raise TrainingError(
            f"version {version.number} of {name} is INT8, and a retraining gives float32; register "
            f"its run with `earful models register {name} RUN --promote`, and export what becomes "
            "of it with --int8"
        )
    rows = from_csv(registry.read(name, version, DATA_FILE), f"version {version.number} of {name}")
    return BaseVersion(version, model, metadata, rows)
