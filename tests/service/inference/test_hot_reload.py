"""The reloader on a registry, one check at a time."""

import asyncio
import os
from pathlib import Path

import pytest

from earful.models.registry.errors import RegistryError
from earful.models.registry.records import CHAMPION
from earful.models.registry.registry import Registry
from earful.models.registry.registry_source import RegistrySource
from earful.models.registry.shipped import SHIPPED_MODELS
from earful.models.registry.source import ModelMissing
from earful.service.core.metrics import ServiceMetrics
from earful.service.inference.hot_reload import ModelReloader


def test_a_pipe_in_the_place_of_the_aliases_is_refused_at_once(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path))
    registry.register("words", {"model.onnx": SHIPPED_MODELS["digits-small"].read_bytes()})
    aliases = tmp_path / "words" / "aliases.json"
    aliases.unlink()
    os.mkfifo(aliases)
    tag = RegistrySource(registry, "words").change_tag()
    assert isinstance(tag, ModelMissing)
    assert "it is a pipe, not a file" in tag.reason


@pytest.mark.slow
def test_an_error_of_a_version_ends_when_the_alias_goes_back(tmp_path: Path) -> None:
    registry = Registry(str(tmp_path))
    files = {"model.onnx": SHIPPED_MODELS["digits-small"].read_bytes()}
    registry.register("words", files)
    reloader = ModelReloader(RegistrySource(registry, "words"), "cpu", False, ServiceMetrics())

    async def test() -> None:
        await reloader.load()
        second = registry.register("words", files, alias=CHAMPION)
        registry.local_copy("words", second, "model.onnx").unlink()
        with pytest.raises(RegistryError):
            await reloader._check()
        assert reloader.reload_error
        registry.rollback("words")
        await reloader._check()

    asyncio.run(test())
    assert reloader.reload_error is None
    assert reloader.current is not None
    assert reloader.current.info["release"] == "1"
