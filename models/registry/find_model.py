"""Finds a released model: a file, a registry version, or a model shipped with the package."""

from pathlib import Path

from earful.models.registry.shipped import DEFAULT_REGISTRY, SHIPPED_MODEL
from earful.models.registry.source import open_source


def find_model(model: str | None, registry: str = DEFAULT_REGISTRY) -> Path:
    """The model file that a file or registry name stands for now; None is the shipped one.

    Raises:
        ModelError: there is none, or it is damaged.
    """
    return SHIPPED_MODEL if model is None else open_source(model, registry).resolve().path
