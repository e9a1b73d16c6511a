"""A candidate that is a version already, made by the same request, perhaps by a killed run."""

import json

from earful.models.registry.records import CHALLENGER, CHAMPION, Version
from earful.models.registry.registry import Registry
from earful.training.retraining.gate_report import GATE

_GIVEN = ("promote", "challenge", "rollback")


def made_already(registry: Registry, name: str, asked: str, base: Version) -> Version | None:
    """The version that the same request made of the same champion before."""
    for version in registry.versions(name):
        if version.request_hash == asked and version.parent == base.number:
            return version
    return None


def settle(registry: Registry, name: str, made: Version, base: Version, *, promote: bool) -> None:
    """Give a version the alias that a kill kept from it, and never one that was taken from it."""
    if any(e.version == made.number and e.action in _GIVEN for e in registry.events(name)):
        return
    passed = json.loads(registry.read(name, made, GATE))["passed"]
    alias = CHAMPION if passed and promote else CHALLENGER
    registry.assign_alias(name, alias, made.number, made.note, expected_champion=base.number)


def reasons_against(registry: Registry, name: str, version: Version) -> tuple[str, ...]:
    """Why a version did not pass when it was compared; nothing where it did, or never was."""
    if GATE not in version.files:
        return ()
    checks = json.loads(registry.read(name, version, GATE))["checks"]
    return tuple(check["reason"] for check in checks if not check["passed"])
