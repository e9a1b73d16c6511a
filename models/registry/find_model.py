"""Where a released model is found: a file, the registry, or the one that ships with the package."""

from pathlib import Path

from earful.models.registry.catalogue import DEFAULT_REGISTRY
from earful.models.registry.source import FileSource, ModelSource, open_source

SHIPPED_MODEL = Path(__file__).parents[1] / "pretrained" / "digits.onnx"


def find_source(model: str | None, registry: str = DEFAULT_REGISTRY) -> ModelSource:
    """What ``--model`` means, to be followed; without it, the shipped digit model.

    Raises:
        ModelError: there is no such file and no such version in the registry.
    """
    return FileSource(SHIPPED_MODEL) if model is None else open_source(model, registry)


def find_model(model: str | None, registry: str = DEFAULT_REGISTRY) -> Path:
    """The file that ``--model`` means now.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    return find_source(model, registry).resolve().path
