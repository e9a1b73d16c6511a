"""Versions of the registry as text and as JSON values, for ``earful models list`` and ``show``."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from earful.models.registry.errors import RegistryError
from earful.models.registry.records import CARD_FILE
from earful.models.registry.registry import Registry
from earful.training.releases.retraining_obstacle import retraining_obstacle, retraining_state
from earful.training.releases.version_metrics import read_version_metrics

_MAX_EVENTS = 10


def version_rows(registry: Registry, name: str) -> list[dict[str, Any]]:
    """A row per version: what ``models list`` shows of it, or an error."""
    return [_version_row(registry, name, number) for number in registry.numbers(name)]


def _version_row(registry: Registry, name: str, number: int) -> dict[str, Any]:
    try:
        version = registry.version(name, number)
        return {
            "name": name,
            "version": number,
            "aliases": registry.aliases(name).names_of(number),
            "created": version.created,
            "parent": version.parent,
            "accuracy": read_version_metrics(registry, name, version).test_accuracy,
            "retrain": retraining_state(version),
            "note": version.note,
        }
    except RegistryError as error:
        return {"name": name, "version": number, "error": str(error)}


def format_versions(rows: Sequence[dict[str, Any]]) -> str:
    """Rows as a text table; damaged versions are marked."""
    cells = [("version", "alias", "created (UTC)", "test accuracy", "retrain", "note")]
    for row in rows:
        name = f"{row['name']}@{row['version']}"
        if "error" in row:
            cells.append((name, "DAMAGED", "", "", "", row["error"]))
            continue
        created = row["created"][:16].replace("T", " ")
        aliases = ", ".join(row["aliases"]) or "-"
        accuracy = _format_percent(row["accuracy"])
        cells.append((name, aliases, created, accuracy, row["retrain"], row["note"]))
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def format_model(registry: Registry, name: str) -> str:
    """A model's versions and the latest entries of its log."""
    events = registry.events(name)
    log = [
        f"  {event.time[:19].replace('T', ' ')}  {event.action} {event.version}"
        + (f" instead of {event.previous_version}" if event.previous_version else "")
        + f"  by {event.created_by}"
        + (f": {event.reason}" if event.reason else "")
        for event in events[-_MAX_EVENTS:]
    ]
    older = len(events) - len(log)
    head = f"log (and {older} earlier entries):" if older else "log:"
    return "\n".join([format_versions(version_rows(registry, name)), head, *log])


def format_version(registry: Registry, name: str, version_or_alias: str) -> str:
    """One version: its model card and its files."""
    version = registry.version(name, version_or_alias)
    card = registry.read(name, version, CARD_FILE).decode() if CARD_FILE in version.files else ""
    aliases = ", ".join(registry.aliases(name).names_of(version.number)) or "no alias"
    parent = f", from version {version.parent}" if version.parent else ""
    files = [f"  {digest}  {file}" for file, digest in sorted(version.files.items())]
    head = f"{name}@{version.number} ({aliases}), {version.created} by {version.created_by}{parent}"
    folder = f"{registry.root}/{name}/versions/{version.number}"
    obstacle = retraining_obstacle(registry, name, version)
    retraining = f"retraining: {obstacle or 'earful retrain ' + name}"
    return "\n".join([head, "", card, retraining, f"files in {folder} (sha256):", *files])


def model_json(registry: Registry, name: str, version_or_alias: str) -> dict[str, Any]:
    """JSON values of a version, or of a model with its versions, aliases and log."""
    if version_or_alias:
        version = registry.version(name, version_or_alias)
        aliases = registry.aliases(name).names_of(version.number)
        return {
            "name": name,
            **dataclasses.asdict(version),
            "aliases": aliases,
            "retrain": retraining_state(version),
            "retraining_obstacle": retraining_obstacle(registry, name, version),
        }
    return {
        "name": name,
        "versions": version_rows(registry, name),
        "aliases": dict(registry.aliases(name).aliases),
        "events": [dataclasses.asdict(event) for event in registry.events(name)],
    }


def _format_percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.2f} %"
