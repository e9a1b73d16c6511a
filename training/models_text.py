"""The registry for people and scripts: what ``earshot models`` lists and shows."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from models.registry.records import CARD, METRICS, Version
from models.registry.registry import Registry

_SHOWN_EVENTS = 10


def rows_of(registry: Registry, name: str) -> list[dict[str, Any]]:
    """A row a version: name, number, aliases, when, its parent, accuracy and note."""
    aliases = registry.aliases(name)
    return [
        {
            "name": name,
            "version": version.number,
            "aliases": aliases.of(version.number),
            "created": version.created,
            "parent": version.parent,
            "accuracy": _accuracy(registry, name, version),
            "note": version.note,
        }
        for version in registry.versions(name)
    ]


def listed(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as lines for a person."""
    return "\n".join(
        f"{row['name']}@{row['version']}  {', '.join(row['aliases']) or '-':<10}  "
        f"{row['created'][:16].replace('T', ' ')}  {_percent(row['accuracy']):>8}  {row['note']}"
        for row in rows
    )


def described(registry: Registry, name: str) -> str:
    """A model's versions and the latest of its log."""
    events = registry.events(name)
    log = [
        f"  {event.time[:19].replace('T', ' ')}  {event.act} {event.version}"
        + (f" instead of {event.before}" if event.before else "")
        + f"  by {event.by}"
        + (f": {event.reason}" if event.reason else "")
        for event in events[-_SHOWN_EVENTS:]
    ]
    older = len(events) - len(log)
    head = f"log (and {older} earlier entries):" if older else "log:"
    return "\n".join([listed(rows_of(registry, name)), head, *log])


def described_version(registry: Registry, name: str, which: str) -> str:
    """One version: its card, and what it consists of."""
    version = registry.version(name, which)
    card = registry.read(name, version, CARD).decode() if CARD in version.files else ""
    aliases = ", ".join(registry.aliases(name).of(version.number)) or "no alias"
    parent = f", from version {version.parent}" if version.parent else ""
    files = [f"  {digest}  {file}" for file, digest in sorted(version.files.items())]
    head = f"{name}@{version.number} ({aliases}), {version.created} by {version.by}{parent}"
    return "\n".join([head, "", card, "files (sha256):", *files])


def facts_of(registry: Registry, name: str, which: str) -> dict[str, Any]:
    """The same for a script."""
    if which:
        version = registry.version(name, which)
        aliases = registry.aliases(name).of(version.number)
        return {"name": name, **dataclasses.asdict(version), "aliases": aliases}
    return {
        "name": name,
        "versions": rows_of(registry, name),
        "aliases": dict(registry.aliases(name).aliases),
        "events": [dataclasses.asdict(event) for event in registry.events(name)],
    }


def metrics_of(registry: Registry, name: str, version: Version) -> dict[str, Any]:
    """The figures of a version; empty where it has none."""
    if METRICS not in version.files:
        return {}
    return dict(json.loads(registry.read(name, version, METRICS)))


def _accuracy(registry: Registry, name: str, version: Version) -> float | None:
    """On the frozen test set, or what the run said of its own test part."""
    metrics = metrics_of(registry, name, version)
    found = metrics.get("accuracy", metrics.get("test", {}).get("accuracy"))
    return None if found is None else float(found)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"
