"""metrics.json of a version, which another program may have written."""

from pathlib import Path

import pytest

from earful.models.registry.errors import RegistryError
from earful.models.registry.registry import Registry
from earful.training.releases.version_metrics import VersionMetrics, read_version_metrics
from earful.training.releases.version_text import version_rows


def metrics_of_a_version(folder: Path, content: str) -> VersionMetrics:
    registry = Registry(str(folder))
    files = {"model.onnx": b"a model", "metrics.json": content.encode()}
    return read_version_metrics(registry, "digits", registry.register("digits", files))


@pytest.mark.parametrize(
    ("content", "accuracy"),
    [
        ('{"accuracy": 0.9, "test": {"accuracy": 0.8}}', 0.9),  # the frozen test set goes first
        ('{"split_mode": "speaker", "test": {"accuracy": 0.8, "clips": 10}}', 0.8),
        ('{"test": null}', None),
        ("{}", None),
    ],
)
def test_accuracy_is_of_the_frozen_test_set_else_of_the_run(
    tmp_path: Path, content: str, accuracy: float | None
) -> None:
    assert metrics_of_a_version(tmp_path, content).test_accuracy == accuracy


@pytest.mark.parametrize(
    "content",
    ["[]", "{", '{"accuracy": "0.9"}', '{"accuracy": NaN}', '{"per_label": [1]}', '{"test": 1}'],
)
def test_a_damaged_file_is_named_and_leaves_the_other_versions_listed(
    tmp_path: Path, content: str
) -> None:
    with pytest.raises(RegistryError, match=r"digits/versions/1/metrics\.json is damaged: .+"):
        metrics_of_a_version(tmp_path, content)
    registry = Registry(str(tmp_path))
    registry.register("digits", {"model.onnx": b"a model", "metrics.json": b'{"accuracy": 1}'})
    damaged, intact = version_rows(registry, "digits")
    assert "metrics.json is damaged" in damaged["error"]
    assert intact["accuracy"] == 1
