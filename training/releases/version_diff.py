"""Comparison of two versions: network and settings, labels, data, metrics."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from earful.data.labels.multilabel import sort_labels
from earful.models.bundle.bundle import Bundle, open_bundle
from earful.models.registry.records import DATA_FILE, MODEL_FILE, Version
from earful.models.registry.registry import Registry
from earful.training.releases.manifest import from_csv
from earful.training.releases.version_metrics import VersionMetrics, read_version_metrics


@dataclass(frozen=True)
class VersionDiff:
    """Differences of version ``second`` from version ``first``.

    ``settings`` and ``metrics`` are pairs (first, second); accuracies are fractions, None where not
    measured. Clip counts are None unless both versions have registered data.
    """

    first: str
    second: str
    settings: Mapping[str, tuple[Any, Any]]
    metrics: Mapping[str, tuple[float | None, float | None]]
    labels_added: tuple[str, ...]
    labels_removed: tuple[str, ...]
    clips_added: int | None
    clips_removed: int | None
    clips_relabelled: int | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """The differences as text."""
        lines = [f"{self.first} -> {self.second}"]
        lines += [f"{name}: {a} -> {b}" for name, (a, b) in self.settings.items()]
        if self.labels_added or self.labels_removed:
            added = ", ".join(self.labels_added) or "none"
            removed = ", ".join(self.labels_removed) or "none"
            lines.append(f"labels added: {added}; removed: {removed}")
        if self.clips_added is None:
            lines.append("data: not registered with both versions")
        else:
            lines.append(
                f"data: {self.clips_added} clips added, {self.clips_removed} removed, "
                f"{self.clips_relabelled} relabelled"
            )
        lines += [f"{name}: {_format_change(a, b)}" for name, (a, b) in self.metrics.items()]
        return "\n".join(lines)


def diff_versions(registry: Registry, first: str, second: str) -> VersionDiff:
    """Compare two versions, each NAME, NAME@ALIAS or NAME@NUMBER.

    Raises:
        RegistryError: a version is missing or damaged.
    """
    a, b = _open_version(registry, first), _open_version(registry, second)
    labels_a, labels_b = set(a.bundle.metadata.labels), set(b.bundle.metadata.labels)
    clips_added, clips_removed, clips_relabelled = _diff_clips(
        _labels_by_audio(registry, a), _labels_by_audio(registry, b)
    )
    metrics_a = read_version_metrics(registry, a.name, a.version)
    metrics_b = read_version_metrics(registry, b.name, b.version)
    return VersionDiff(
        first=a.reference,
        second=b.reference,
        settings=_diff_settings(a.bundle, b.bundle),
        metrics=_diff_metrics(metrics_a, metrics_b),
        labels_added=tuple(sort_labels(labels_b - labels_a)),
        labels_removed=tuple(sort_labels(labels_a - labels_b)),
        clips_added=clips_added,
        clips_removed=clips_removed,
        clips_relabelled=clips_relabelled,
    )


@dataclass(frozen=True)
class _OpenVersion:
    name: str
    version: Version
    bundle: Bundle

    @property
    def reference(self) -> str:
        return f"{self.name}@{self.version.number}"


def _open_version(registry: Registry, reference: str) -> _OpenVersion:
    name, _, version_or_alias = reference.partition("@")
    version = registry.version(name, version_or_alias or "champion")
    bundle = open_bundle(registry.local_copy(name, version, MODEL_FILE))
    return _OpenVersion(name, version, bundle)


def _labels_by_audio(registry: Registry, opened: _OpenVersion) -> dict[str, str] | None:
    """Labels by audio hash; None where the data was not registered."""
    if DATA_FILE not in opened.version.files:
        return None
    rows = from_csv(registry.read(opened.name, opened.version, DATA_FILE), opened.reference)
    return {row.audio_hash: row.label for row in rows}


def _diff_clips(
    before: Mapping[str, str] | None, after: Mapping[str, str] | None
) -> tuple[int | None, int | None, int | None]:
    """Clips added, removed and relabelled, from labels by audio hash; None if one is unknown."""
    if before is None or after is None:
        return None, None, None
    n_relabelled = sum(after.get(audio, label) != label for audio, label in before.items())
    return len(after.keys() - before.keys()), len(before.keys() - after.keys()), n_relabelled


def _diff_settings(a: Bundle, b: Bundle) -> dict[str, tuple[Any, Any]]:
    first, second = _model_settings(a), _model_settings(b)
    return {
        name: (first.get(name), second.get(name))
        for name in {**first, **second}
        if first.get(name) != second.get(name)
    }


def _model_settings(bundle: Bundle) -> dict[str, Any]:
    metadata = bundle.metadata
    return {
        "network": metadata.architecture["name"],
        **{f"option {name}": value for name, value in metadata.architecture["options"].items()},
        "features": metadata.feature_kind,
        **metadata.features.to_dict(),
        "score_kind": metadata.score_kind,
        "temperature": round(metadata.temperature, 3),
        "rejection threshold": round(metadata.rejection_threshold, 6),
    }


def _diff_metrics(
    a: VersionMetrics, b: VersionMetrics
) -> dict[str, tuple[float | None, float | None]]:
    metrics = {"accuracy": (a.test_accuracy, b.test_accuracy)}
    groups = (
        ("label", "recall", a.per_label, b.per_label),
        ("speaker", "accuracy", a.per_speaker, b.per_speaker),
    )
    for group, metric, first, second in groups:
        for name in sort_labels([*first, *second]):
            pair = first.get(name, {}).get(metric), second.get(name, {}).get(metric)
            if pair[0] != pair[1]:
                metrics[f"{group} {name}"] = pair
    return metrics


def _format_change(a: float | None, b: float | None) -> str:
    before, after = ("-" if x is None else f"{100 * x:.2f} %" for x in (a, b))
    change = "" if a is None or b is None else f" ({100 * (b - a):+.2f} points)"
    return f"{before} -> {after}{change}"
