"""Finds a released model: a file, a registry version, or a model shipped with the package."""

from pathlib import Path

from earful.models.registry.shipped import DEFAULT_REGISTRY, SHIPPED_MODEL
from earful.models.registry.source import FileSource, ModelSource, open_source


def find_source(model: str | None, registry: str = DEFAULT_REGISTRY) -> ModelSource:
    """The source of a file or registry name; None is the shipped digit model.

    Raises:
        ModelError: there is neither such a file nor such a version in the registry.
    """
    return FileSource(SHIPPED_MODEL) if model is None else open_source(model, registry)


def find_model(model: str | None, registry: str = DEFAULT_REGISTRY) -> Path:
    """The model file that a file or registry name stands for now.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    return find_source(model, registry).resolve().path
