"""What a version is now: champion, challenger, neither or deleted, and what promotes it."""

from pathlib import Path

import pytest

from earful.models.registry.registry import Registry
from earful.models.registry.shipped import DEFAULT_REGISTRY
from earful.models.registry.standing import read_standing

FILES = {"model.onnx": b"a model"}


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Version 1 is champion, 3 challenger, 2 and 4 are neither."""
    registry = Registry(str(tmp_path / "registry"))
    for _ in range(4):
        registry.register("digits", FILES)
    registry.assign_alias("digits", "challenger", 3, "")
    return registry


def test_a_standing_follows_the_registry(registry: Registry) -> None:
    promote = ("models", "promote", "digits", "2", "--registry", registry.root)
    standing = read_standing(registry, "digits", 2)
    assert (standing.role, standing.promote) == ("none", promote)
    assert str(standing) == (
        "digits@2 is neither champion nor challenger (the champion is version 1, the challenger "
        "is version 3)"
    )
    registry.assign_alias("digits", "challenger", 2, "")
    challenger = read_standing(registry, "digits", 2)
    assert (str(challenger), challenger.promote) == ("digits@2 is challenger", promote)
    registry.promote("digits", 2)
    champion = read_standing(registry, "digits", 2)
    assert (str(champion), champion.promote) == ("digits@2 is champion", ())
    registry.rollback("digits")
    undone = read_standing(registry, "digits", 2)
    assert (undone.role, undone.promote) == ("none", promote)
    assert "is rolled back, and neither" in str(undone)
    registry.prune("digits", 0)
    deleted = read_standing(registry, "digits", 2)
    assert (str(deleted), deleted.promote) == ("digits@2 is deleted from the registry", ())


def test_the_default_registry_needs_no_flag(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    registry = Registry(DEFAULT_REGISTRY)
    for _ in range(2):
        registry.register("digits", FILES)
    assert read_standing(registry, "digits", 2).promote == ("models", "promote", "digits", "2")
