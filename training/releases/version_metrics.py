"""metrics.json of a version: of its frozen test set, else of the run that was registered."""

from dataclasses import dataclass, field

from earful.data.text.json_input import STRICT, parse_json
from earful.models.registry.records import METRICS_FILE, Version, damaged_error
from earful.models.registry.registry import Registry

_PARTLY_READ = STRICT | {"extra": "ignore"}


@dataclass(frozen=True)
class _RunPart:
    __pydantic_config__ = _PARTLY_READ

    accuracy: float | None = None


@dataclass(frozen=True)
class VersionMetrics:
    """What is read of it.

    ``test`` is that of the run; all others are of the frozen test set, and None or empty if it was
    not measured.
    """

    __pydantic_config__ = _PARTLY_READ

    clips: int | None = None
    accuracy: float | None = None
    macro_f1: float | None = None
    per_label: dict[str, dict[str, float]] = field(default_factory=dict)
    per_speaker: dict[str, dict[str, float]] = field(default_factory=dict)
    test: _RunPart | None = None

    @property
    def test_accuracy(self) -> float | None:
        """Accuracy (0 to 1) on the frozen test set, else on the run's own test clips."""
        if self.accuracy is None and self.test is not None:
            return self.test.accuracy
        return self.accuracy


def read_version_metrics(registry: Registry, name: str, version: Version) -> VersionMetrics:
    """The metrics of a version; all None or empty where it has none.

    Raises:
        RegistryError: the file is damaged.
    """
    if METRICS_FILE not in version.files:
        return VersionMetrics()
    content = registry.read(name, version, METRICS_FILE)
    try:
        return parse_json(VersionMetrics, content)
    except ValueError as error:
        path = f"{registry.root}/{name}/versions/{version.number}/{METRICS_FILE}"
        raise damaged_error(path, str(error)) from error
