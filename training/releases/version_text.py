"""The registry for people and scripts: what ``earful models`` lists and shows."""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from earful.models.registry.errors import RegistryError
from earful.models.registry.records import CARD_FILE, METRICS_FILE, Version
from earful.models.registry.registry import Registry

_SHOWN_EVENTS = 10


def rows_of(registry: Registry, name: str) -> list[dict[str, Any]]:
    """A row a version: name, number, aliases, when, its parent, accuracy and note, or an error."""
    return [_row(registry, name, number) for number in registry.numbers(name)]


def _row(registry: Registry, name: str, number: int) -> dict[str, Any]:
    try:
        version = registry.version(name, number)
        return {
            "name": name,
            "version": number,
            "aliases": registry.aliases(name).names_of(number),
            "created": version.created,
            "parent": version.parent,
            "accuracy": _accuracy(registry, name, version),
            "note": version.note,
        }
    except RegistryError as error:
        return {"name": name, "version": number, "error": str(error)}


def listed(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a table for a person; what is damaged says so."""
    cells = [("version", "alias", "made (UTC)", "right on its test clips", "note")]
    for row in rows:
        name = f"{row['name']}@{row['version']}"
        if "error" in row:
            cells.append((name, "DAMAGED", "", "", row["error"]))
            continue
        made = row["created"][:16].replace("T", " ")
        aliases = ", ".join(row["aliases"]) or "-"
        cells.append((name, aliases, made, _percent(row["accuracy"]), row["note"]))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def described(registry: Registry, name: str) -> str:
    """A model's versions and the latest of its log."""
    events = registry.events(name)
    log = [
        f"  {event.time[:19].replace('T', ' ')}  {event.action} {event.version}"
        + (f" instead of {event.previous_version}" if event.previous_version else "")
        + f"  by {event.created_by}"
        + (f": {event.reason}" if event.reason else "")
        for event in events[-_SHOWN_EVENTS:]
    ]
    older = len(events) - len(log)
    head = f"log (and {older} earlier entries):" if older else "log:"
    return "\n".join([listed(rows_of(registry, name)), head, *log])


def described_version(registry: Registry, name: str, version_or_alias: str) -> str:
    """One version: its card, and what it consists of."""
    version = registry.version(name, version_or_alias)
    card = registry.read(name, version, CARD_FILE).decode() if CARD_FILE in version.files else ""
    aliases = ", ".join(registry.aliases(name).names_of(version.number)) or "no alias"
    parent = f", from version {version.parent}" if version.parent else ""
    files = [f"  {digest}  {file}" for file, digest in sorted(version.files.items())]
    head = f"{name}@{version.number} ({aliases}), {version.created} by {version.created_by}{parent}"
    place = f"{registry.root}/{name}/versions/{version.number}"
    return "\n".join([head, "", card, f"files in {place} (sha256):", *files])


def facts_of(registry: Registry, name: str, version_or_alias: str) -> dict[str, Any]:
    """The same for a script."""
    if version_or_alias:
        version = registry.version(name, version_or_alias)
        aliases = registry.aliases(name).names_of(version.number)
        return {"name": name, **dataclasses.asdict(version), "aliases": aliases}
    return {
        "name": name,
        "versions": rows_of(registry, name),
        "aliases": dict(registry.aliases(name).aliases),
        "events": [dataclasses.asdict(event) for event in registry.events(name)],
    }


def metrics_of(registry: Registry, name: str, version: Version) -> dict[str, Any]:
    """The figures of a version; empty where it has none."""
    if METRICS_FILE not in version.files:
        return {}
    return dict(json.loads(registry.read(name, version, METRICS_FILE)))


def accuracy_of(metrics: Mapping[str, Any]) -> float | None:
    """That of the frozen test set, or what the run said of its own test part."""
    found = metrics.get("accuracy", metrics.get("test", {}).get("accuracy"))
    return None if found is None else float(found)


def _accuracy(registry: Registry, name: str, version: Version) -> float | None:
    return accuracy_of(metrics_of(registry, name, version))


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"
