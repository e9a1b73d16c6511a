"""The registry: immutable versions, aliases that are moved among them, and a log of who did what.

    NAME/versions/N/   model.onnx, manifest.json (sha256 of each file, parent), metrics.json,
                       card.md, data.csv, checkpoint.pt
    NAME/aliases.json  champion and challenger, and the champions before
    NAME/events.jsonl  every change, only ever added to

A change takes the lock of its name. What is true is what versions/ and aliases.json say; both
change whole, and the log is caught up by the next change where a kill came in between.
"""

import contextlib
from collections.abc import Iterator, Mapping

from earful.models.registry.catalogue import ALIASES, EVENTS, Catalogue, checked, place_of
from earful.models.registry.errors import RegistryError
from earful.models.registry.records import (
    CHALLENGER,
    CHAMPION,
    Act,
    Aliases,
    Event,
    Version,
    now,
    sha256,
    to_json,
    to_line,
    whoami,
)
from earful.models.registry.storage import MANIFEST

LOCK = ".lock"
# A champion replaced by others is kept this often.
_KEPT_CHAMPIONS = 100


class Registry(Catalogue):
    """A catalogue that can be added to, and whose aliases can be moved."""

    def register(
        self,
        name: str,
        files: Mapping[str, bytes],
        *,
        parent: int | None = None,
        recipe: str = "",
        note: str = "",
        alias: str | None = None,
        instead_of: int | None = None,
    ) -> Version:
        """A new version; it takes ``alias`` besides, and the first of a name becomes champion.

        With ``instead_of`` it becomes champion only where that one still is, else challenger.

        Raises:
            RegistryError: another change is going on, or the registry is damaged.
        """
        with self._changing(name, new=True):
            events = self._logged(name)
            used = [0, *self._numbers(name), *(event.version for event in events)]
            digests = {file: sha256(content) for file, content in files.items()}
            version = Version(max(used) + 1, now(), whoami(), parent, recipe, note, digests)
            folder = place_of(name, version.number)
            self._storage.publish(folder, {**files, MANIFEST: to_json(version)})
            self._log(name, "register", version.number, None, note)
            alias = alias or (None if self.aliases(name).champion else CHAMPION)
            if alias:
                self._give(name, alias, version.number, note, instead_of)
        return version

    def promote(self, name: str, which: int | str = CHALLENGER, reason: str = "") -> Version:
        """Make a version champion; it is none already.

        Raises:
            RegistryError: there is no such version, it is champion, or another change is going on.
        """
        with self._changing(name):
            version = self.version(name, which)
            if self.aliases(name).champion == version.number:
                raise RegistryError(f"version {version.number} of {name} is champion already")
            self._check_whole(name, version)
            self._move(name, CHAMPION, version.number, reason)
        return version

    def challenge(self, name: str, number: int, reason: str = "") -> None:
        """Make a version challenger."""
        self.give_alias(name, CHALLENGER, number, reason)

    def give_alias(
        self, name: str, alias: str, number: int, reason: str, instead_of: int | None = None
    ) -> None:
        """Give a version an alias; champion only instead of ``instead_of``, else challenger."""
        with self._changing(name):
            self._give(name, alias, self.version(name, number).number, reason, instead_of)

    def rollback(self, name: str, reason: str = "") -> Version:
        """Make the champion before this one champion again.

        Raises:
            RegistryError: there was none, or another change is going on.
        """
        with self._changing(name):
            aliases = self.aliases(name)
            present = set(self._known(name))
            before = [number for number in aliases.previous if number in present]
            if not before:
                raise RegistryError(
                    f"{name} had no champion before this one; nothing to go back to"
                )
            version = self._read_version(name, before[-1])
            self._check_whole(name, version)
            event = self._next_event(name, "rollback", version.number, aliases.champion, reason)
            moved = _with_champion(aliases, version.number)
            self._write_aliases(name, Aliases(moved, tuple(before[:-1]), event))
        return version

    def prunable(self, name: str, keep: int) -> list[Version]:
        """Versions but for the newest ``keep``, those with an alias and the champion before."""
        aliases = self.aliases(name)
        versions = self.versions(name)
        kept = {version.number for version in versions[max(0, len(versions) - keep) :]}
        kept |= set(aliases.aliases.values()) | set(aliases.previous[-1:])
        return [version for version in versions if version.number not in kept]

    def prune(self, name: str, keep: int) -> list[Version]:
        """Delete what ``prunable`` names.

        Raises:
            RegistryError: another change is going on, or the registry is damaged.
        """
        with self._changing(name):
            gone = self.prunable(name, keep)
            for version in gone:
                self._log(name, "prune", version.number, None, f"keep {keep}")
                self._storage.remove(place_of(name, version.number))
        return gone

    @contextlib.contextmanager
    def _changing(self, name: str, *, new: bool = False) -> Iterator[None]:
        if not new:
            self._known(name)  # a mistyped name leaves no lock behind
        with self._storage.lock(f"{checked(name)}/{LOCK}"):
            self._catch_up(name)
            yield

    def _catch_up(self, name: str) -> None:
        """Write into the log what a kill kept out of it."""
        logged = self._logged(name)
        last = self.aliases(name).event
        if last and (not logged or last.number > logged[-1].number):
            self._append(name, last)
        registered = {event.version for event in logged if event.act == "register"}
        for number in self._numbers(name):
            if number not in registered:
                self._log(name, "register", number, None, "found without an entry")

    def _give(
        self, name: str, alias: str, number: int, reason: str, instead_of: int | None
    ) -> None:
        champion = self.aliases(name).champion
        if alias == CHAMPION and instead_of is not None and champion != instead_of:
            alias = CHALLENGER  # another was promoted meanwhile: it was not compared with that
        self._move(name, alias, number, reason)

    def _move(self, name: str, alias: str, number: int, reason: str) -> None:
        aliases = self.aliases(name)
        act: Act = "promote" if alias == CHAMPION else "challenge"
        event = self._next_event(name, act, number, aliases.aliases.get(alias), reason)
        moved = {**aliases.aliases, alias: number}
        if alias == CHAMPION:
            moved = _with_champion(aliases, number)
        previous = aliases.previous
        if alias == CHAMPION and aliases.champion is not None:
            previous = (*previous, aliases.champion)[-_KEPT_CHAMPIONS:]
        self._write_aliases(name, Aliases(moved, previous, event))

    def _write_aliases(self, name: str, aliases: Aliases) -> None:
        self._storage.write(f"{name}/{ALIASES}", to_json(aliases))
        if aliases.event is not None:
            self._append(name, aliases.event)

    def _log(self, name: str, act: Act, number: int, before: int | None, reason: str) -> None:
        self._append(name, self._next_event(name, act, number, before, reason))

    def _next_event(
        self, name: str, act: Act, number: int, before: int | None, reason: str
    ) -> Event:
        logged, last = self._logged(name), self.aliases(name).event
        count = max(logged[-1].number if logged else 0, last.number if last else 0) + 1
        return Event(count, now(), act, number, before, whoami(), reason)

    def _append(self, name: str, event: Event) -> None:
        path = f"{name}/{EVENTS}"
        try:
            content = self._storage.read(path)
        except FileNotFoundError:
            content = b""
        self._storage.write(path, content + to_line(event))

    def _check_whole(self, name: str, version: Version) -> None:
        for file in version.files:
            self.read(name, version, file)


def _with_champion(aliases: Aliases, number: int) -> dict[str, int]:
    """The aliases with another champion, who is no challenger any more."""
    others = {alias: n for alias, n in aliases.aliases.items() if n != number}
    return {**others, CHAMPION: number}
