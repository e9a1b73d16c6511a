"""Idempotent retraining: find the version that an identical request has already registered."""

import json

from earful.models.registry.records import CHALLENGER, CHAMPION, Version
from earful.models.registry.registry import Registry
from earful.training.retraining.gate_report import GATE

_ALIAS_ACTIONS = ("promote", "challenge", "rollback")


def find_existing(
    registry: Registry, name: str, request_hash: str, base: Version
) -> Version | None:
    """The version registered by the same request with the same champion, if any."""
    for version in registry.versions(name):
        if version.request_hash == request_hash and version.parent == base.number:
            return version
    return None


def restore_alias(
    registry: Registry, name: str, existing: Version, base: Version, *, promote: bool
) -> None:
    """Set the alias that an interrupted run did not set; never one that was moved since."""
    events = registry.events(name)
    if any(event.version == existing.number and event.action in _ALIAS_ACTIONS for event in events):
        return
    passed = json.loads(registry.read(name, existing, GATE))["passed"]
    alias = CHAMPION if passed and promote else CHALLENGER
    registry.assign_alias(
        name, alias, existing.number, existing.note, expected_champion=base.number
    )


def gate_failures(registry: Registry, name: str, version: Version) -> tuple[str, ...]:
    """The gate failures of a version; empty if it passed or was not compared."""
    if GATE not in version.files:
        return ()
    checks = json.loads(registry.read(name, version, GATE))["checks"]
    return tuple(check["reason"] for check in checks if not check["passed"])
