"""The registry: immutable versions, aliases that point to them, and a log of changes.

    NAME/versions/N/   model.onnx, manifest.json (sha256 of each file, parent), metrics.json,
                       card.md, data.csv, checkpoint.pt
    NAME/aliases.json  champion, challenger and previous champions
    NAME/events.jsonl  all changes; append-only

A change holds the lock of its name. versions/ and aliases.json are authoritative and change
atomically. If a process is killed before it writes the log, the next change completes the log.
"""

import contextlib
from collections.abc import Iterator, Mapping

from earful.models.registry.catalogue import (
    ALIASES_FILE,
    EVENTS_FILE,
    RegistryReader,
    checked_name,
    version_folder,
)
from earful.models.registry.errors import RegistryError
from earful.models.registry.records import (
    CHALLENGER,
    CHAMPION,
    Aliases,
    EventAction,
    RegistryEvent,
    Version,
    sha256,
    to_json,
    to_json_line,
    user_at_host,
    utc_now,
)
from earful.models.registry.storage import MANIFEST_FILE

LOCK_FILE = ".lock"
# Length of the list of previous champions.
_MAX_PREVIOUS_CHAMPIONS = 100


class Registry(RegistryReader):
    """A registry that versions are added to and whose aliases are moved."""

    def register(
        self,
        name: str,
        files: Mapping[str, bytes],
        *,
        parent: int | None = None,
        request_hash: str = "",
        note: str = "",
        alias: str | None = None,
        expected_champion: int | None = None,
    ) -> Version:
        """Add a version and give it ``alias``; the first version of a name becomes champion.

        With ``expected_champion`` it becomes champion only if that version still is champion,
        otherwise challenger.

        Raises:
            RegistryError: another process is changing the model, or the registry is damaged.
        """
        with self._locked(name, new=True):
            events = self._logged_events(name)
            used_numbers = [0, *self._version_numbers(name), *(event.version for event in events)]
            digests = {file: sha256(content) for file, content in files.items()}
            version = Version(
                number=max(used_numbers) + 1,
                created=utc_now(),
                created_by=user_at_host(),
                parent=parent,
                request_hash=request_hash,
                note=note,
                files=digests,
            )
            folder = version_folder(name, version.number)
            self._storage.publish(folder, {**files, MANIFEST_FILE: to_json(version)})
            self._log_event(name, "register", version.number, None, note)
            alias = alias or (None if self.aliases(name).champion else CHAMPION)
            if alias:
                self._assign_alias(name, alias, version.number, note, expected_champion)
        return version

    def promote(
        self, name: str, version_or_alias: int | str = CHALLENGER, reason: str = ""
    ) -> Version:
        """Make a version champion.

        Raises:
            RegistryError: there is no such version, it is already champion, or another process is
                changing the model.
        """
        with self._locked(name):
            version = self.version(name, version_or_alias)
            if self.aliases(name).champion == version.number:
                raise RegistryError(f"version {version.number} of {name} is already champion")
            self._verify_files(name, version)
            self._set_alias(name, CHAMPION, version.number, reason)
        return version

    def assign_alias(
        self, name: str, alias: str, number: int, reason: str, expected_champion: int | None = None
    ) -> None:
        """Give a version an alias.

        With ``expected_champion`` it becomes champion only if that version still is champion,
        otherwise challenger.
        """
        with self._locked(name):
            self._assign_alias(
                name, alias, self.version(name, number).number, reason, expected_champion
            )

    def rollback(self, name: str, reason: str = "") -> Version:
        """Make the previous champion champion again.

        Raises:
            RegistryError: there is none, or another process is changing the model.
        """
        with self._locked(name):
            aliases = self.aliases(name)
            present = set(self.numbers(name))
            earlier_champions = [
                number for number in aliases.previous_champions if number in present
            ]
            if not earlier_champions:
                raise RegistryError(f"{name} has no previous champion to roll back to")
            version = self._read_version(name, earlier_champions[-1])
            self._verify_files(name, version)
            event = self._next_event(name, "rollback", version.number, aliases.champion, reason)
            new_aliases = _with_champion(aliases, version.number)
            self._write_aliases(name, Aliases(new_aliases, tuple(earlier_champions[:-1]), event))
        return version

    def prunable(self, name: str, keep: int) -> list[Version]:
        """All versions but the newest ``keep``, those with an alias and the previous champion."""
        aliases = self.aliases(name)
        versions = self.versions(name)
        kept = {version.number for version in versions[max(0, len(versions) - keep) :]}
        kept |= set(aliases.aliases.values()) | set(aliases.previous_champions[-1:])
        return [version for version in versions if version.number not in kept]

    def prune(self, name: str, keep: int) -> list[Version]:
        """Delete the versions that ``prunable`` lists, and return them.

        Raises:
            RegistryError: another process is changing the model, or the registry is damaged.
        """
        with self._locked(name):
            removed = self.prunable(name, keep)
            for version in removed:
                self._log_event(name, "prune", version.number, None, f"keep {keep}")
                self._storage.remove(version_folder(name, version.number))
        return removed

    @contextlib.contextmanager
    def _locked(self, name: str, *, new: bool = False) -> Iterator[None]:
        if not new:
            self.numbers(name)  # raises, so that a mistyped name leaves no lock file
        with self._storage.lock(f"{checked_name(name)}/{LOCK_FILE}"):
            self._repair_log(name)
            yield

    def _repair_log(self, name: str) -> None:
        """Log the changes of a process that was killed before it logged them."""
        logged = self._logged_events(name)
        for event in self._add_unlogged(name, logged)[len(logged) :]:
            self._append(name, event)
        registered = {event.version for event in logged if event.action == "register"}
        for number in self._version_numbers(name):
            if number not in registered:
                self._log_event(name, "register", number, None, "found without a log entry")

    def _assign_alias(
        self, name: str, alias: str, number: int, reason: str, expected_champion: int | None
    ) -> None:
        champion = self.aliases(name).champion
        if alias == CHAMPION and expected_champion is not None and champion != expected_champion:
            alias = CHALLENGER  # never compared with the version promoted meanwhile
        self._set_alias(name, alias, number, reason)

    def _set_alias(self, name: str, alias: str, number: int, reason: str) -> None:
        aliases = self.aliases(name)
        action: EventAction = "promote" if alias == CHAMPION else "challenge"
        event = self._next_event(name, action, number, aliases.aliases.get(alias), reason)
        new_aliases = {**aliases.aliases, alias: number}
        if alias == CHAMPION:
            new_aliases = _with_champion(aliases, number)
        previous_champions = aliases.previous_champions
        if alias == CHAMPION and aliases.champion is not None:
            previous_champions = (*previous_champions, aliases.champion)[-_MAX_PREVIOUS_CHAMPIONS:]
        self._write_aliases(name, Aliases(new_aliases, previous_champions, event))

    def _write_aliases(self, name: str, aliases: Aliases) -> None:
        self._storage.write(f"{name}/{ALIASES_FILE}", to_json(aliases))
        if aliases.event is not None:
            self._append(name, aliases.event)

    def _log_event(
        self, name: str, action: EventAction, number: int, previous_version: int | None, reason: str
    ) -> None:
        self._append(name, self._next_event(name, action, number, previous_version, reason))

    def _next_event(
        self, name: str, action: EventAction, number: int, previous_version: int | None, reason: str
    ) -> RegistryEvent:
        events = self._add_unlogged(name, self._logged_events(name))
        return RegistryEvent(
            number=events[-1].number + 1 if events else 1,
            time=utc_now(),
            action=action,
            version=number,
            previous_version=previous_version,
            created_by=user_at_host(),
            reason=reason,
        )

    def _append(self, name: str, event: RegistryEvent) -> None:
        path = f"{name}/{EVENTS_FILE}"
        self._storage.write(path, (self._read_if_any(path) or b"") + to_json_line(event))

    def _verify_files(self, name: str, version: Version) -> None:
        for file in version.files:
            self.read(name, version, file)


def _with_champion(aliases: Aliases, number: int) -> dict[str, int]:
    """The aliases with a new champion, which loses its other aliases."""
    remaining = {alias: n for alias, n in aliases.aliases.items() if n != number}
    return {**remaining, CHAMPION: number}
