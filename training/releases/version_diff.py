"""Two versions side by side: figures, labels, data, network."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from earful.data.labels.multilabel import sort_labels
from earful.models.bundle.bundle import Bundle, open_bundle
from earful.models.registry.records import DATA_FILE, MODEL_FILE, Version
from earful.models.registry.registry import Registry
from earful.training.releases.manifest import from_csv
from earful.training.releases.version_text import accuracy_of, metrics_of


@dataclass(frozen=True)
class Difference:
    """What B has that A has not, and the other way round; accuracies are shares, or None."""

    first: str
    second: str
    settings: Mapping[str, tuple[Any, Any]]
    figures: Mapping[str, tuple[float | None, float | None]]
    labels_added: tuple[str, ...]
    labels_removed: tuple[str, ...]
    clips_added: int | None
    clips_removed: int | None
    clips_relabelled: int | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def text(self) -> str:
        """For a person."""
        lines = [f"{self.first} -> {self.second}"]
        lines += [f"{name}: {a} -> {b}" for name, (a, b) in self.settings.items()]
        if self.labels_added or self.labels_removed:
            added = ", ".join(self.labels_added) or "none"
            lines.append(
                f"labels added: {added}; removed: {', '.join(self.labels_removed) or 'none'}"
            )
        if self.clips_added is None:
            lines.append("data: not registered with both")
        else:
            lines.append(
                f"data: {self.clips_added} clips added, {self.clips_removed} removed, "
                f"{self.clips_relabelled} relabelled"
            )
        lines += [f"{name}: {_points(a, b)}" for name, (a, b) in self.figures.items()]
        return "\n".join(lines)


def compare(registry: Registry, first: str, second: str) -> Difference:
    """What differs between two versions, each NAME, NAME@ALIAS or NAME@NUMBER.

    Raises:
        RegistryError: one of them is not there, or damaged.
    """
    a, b = _opened(registry, first), _opened(registry, second)
    before, after = _data(registry, *a[:2]), _data(registry, *b[:2])
    both = None if before is None or after is None else (before, after)
    return Difference(
        f"{a[0]}@{a[1].number}", f"{b[0]}@{b[1].number}",
        _settings(a[2], b[2]),
        _figures(metrics_of(registry, *a[:2]), metrics_of(registry, *b[:2])),
        tuple(sort_labels(set(b[2].metadata.labels) - set(a[2].metadata.labels))),
        tuple(sort_labels(set(a[2].metadata.labels) - set(b[2].metadata.labels))),
        both and len(both[1].keys() - both[0].keys()),
        both and len(both[0].keys() - both[1].keys()),
        both and sum(both[1].get(sound, label) != label for sound, label in both[0].items()),
    )  # fmt: skip


def _opened(registry: Registry, reference: str) -> tuple[str, Version, Bundle]:
    name, _, version_or_alias = reference.partition("@")
    version = registry.version(name, version_or_alias or "champion")
    return name, version, open_bundle(registry.local_copy(name, version, MODEL_FILE))


def _data(registry: Registry, name: str, version: Version) -> dict[str, str] | None:
    """Labels by sound; None where the data was not registered."""
    if DATA_FILE not in version.files:
        return None
    rows = from_csv(registry.read(name, version, DATA_FILE), f"{name}@{version.number}")
    return {row.audio: row.label for row in rows}


def _settings(a: Bundle, b: Bundle) -> dict[str, tuple[Any, Any]]:
    first, second = _facts(a), _facts(b)
    return {
        name: (first.get(name), second.get(name))
        for name in {**first, **second}
        if first.get(name) != second.get(name)
    }


def _facts(bundle: Bundle) -> dict[str, Any]:
    metadata = bundle.metadata
    return {
        "network": metadata.architecture["name"],
        **{f"option {name}": value for name, value in metadata.architecture["options"].items()},
        "features": metadata.feature_kind,
        **metadata.features.to_dict(),
        "score_kind": metadata.score_kind,
        "temperature": round(metadata.temperature, 3),
        "rejection threshold": round(metadata.rejection_threshold, 3),
    }


def _figures(
    a: Mapping[str, Any], b: Mapping[str, Any]
) -> dict[str, tuple[float | None, float | None]]:
    found = {"accuracy": (accuracy_of(a), accuracy_of(b))}
    for group, figure in (("label", "recall"), ("speaker", "accuracy")):
        first, second = a.get(f"per_{group}", {}), b.get(f"per_{group}", {})
        for name in sort_labels([*first, *second]):
            pair = first.get(name, {}).get(figure), second.get(name, {}).get(figure)
            if pair[0] != pair[1]:
                found[f"{group} {name}"] = pair
    return found


def _points(a: float | None, b: float | None) -> str:
    before, after = ("-" if x is None else f"{100 * x:.2f} %" for x in (a, b))
    change = "" if a is None or b is None else f" ({100 * (b - a):+.2f} points)"
    return f"{before} -> {after}{change}"
