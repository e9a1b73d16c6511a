"""What a version is in its registry now: champion, challenger, or neither, and why."""

from dataclasses import dataclass
from typing import Literal

from earful.models.registry.catalogue import RegistryReader
from earful.models.registry.records import CHALLENGER, CHAMPION, Aliases
from earful.models.registry.shipped import DEFAULT_REGISTRY

Role = Literal["champion", "challenger", "none", "deleted"]


@dataclass(frozen=True)
class VersionStanding:
    """A version's role, and the words after ``earful`` that promote it, empty if none would.

    ``text`` says what it is, as in "digits@2 is ...".
    """

    name: str
    number: int
    role: Role
    text: str
    promote: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.name}@{self.number} is {self.text}"


def read_standing(registry: RegistryReader, name: str, number: int) -> VersionStanding:
    """Read what a version is now.

    Raises:
        RegistryError: the registry is damaged, or has no such model.
    """
    aliases = registry.aliases(name)
    names = aliases.names_of(number)
    if number not in registry.numbers(name):
        return VersionStanding(name, number, "deleted", "deleted from the registry", ())
    if CHAMPION in names:
        return VersionStanding(name, number, "champion", CHAMPION, ())
    place = () if registry.root == DEFAULT_REGISTRY else ("--registry", registry.root)
    promote = ("models", "promote", name, str(number), *place)
    if CHALLENGER in names:
        return VersionStanding(name, number, "challenger", CHALLENGER, promote)
    reason = "rolled back, and " if _was_rolled_back(registry, name, number) else ""
    return VersionStanding(name, number, "none", f"{reason}{_others(aliases)}", promote)


def _was_rolled_back(registry: RegistryReader, name: str, number: int) -> bool:
    return any(
        event.action == "rollback" and event.previous_version == number
        for event in registry.events(name)
    )


def _others(aliases: Aliases) -> str:
    """That a version has no alias, and which have."""
    others = [f"the {alias} is version {number}" for alias, number in aliases.aliases.items()]
    return "neither champion nor challenger" + (f" ({', '.join(others)})" if others else "")
