"""The registry: immutable versions, aliases that are moved among them, and a log of who did what.

    NAME/versions/N/   model.onnx, manifest.json (sha256 of each file, parent), metrics.json,
                       card.md, data.csv, checkpoint.pt
    NAME/aliases.json  champion and challenger, and the champions before
    NAME/events.jsonl  every change, only ever added to

A change takes the lock of its name. What is true is what versions/ and aliases.json say; both
change whole, and the log is caught up by the next change where a kill came in between.
"""

import contextlib
import os
import re
import stat
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from data.staging import staged_file
from models.registry.errors import RegistryError
from models.registry.records import (
    ALIAS_NAMES,
    CHALLENGER,
    CHAMPION,
    Act,
    Aliases,
    Event,
    Version,
    damaged,
    now,
    parse_aliases,
    parse_events,
    parse_version,
    sha256,
    to_json,
    to_line,
    whoami,
)
from models.registry.storage import MANIFEST, open_storage

DEFAULT_ROOT = "artifacts/registry"
ALIASES, EVENTS, LOCK = "aliases.json", "events.jsonl", ".lock"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
# A champion replaced by others is kept this often.
_KEPT_CHAMPIONS = 100


class Registry:
    """Models by name at ``root``, a folder or a URL that fsspec knows."""

    def __init__(self, root: str = DEFAULT_ROOT) -> None:
        self.root = root
        self._storage = open_storage(root)

    def names(self) -> list[str]:
        """The models that have a version."""
        return sorted(
            name
            for name in self._storage.folders("")
            if _NAME.fullmatch(name) and self._numbers(name)
        )

    def numbers(self, name: str) -> list[int]:
        """Numbers of the versions of a model, oldest first.

        Raises:
            RegistryError: no model of this name.
        """
        return self._known(name)

    def versions(self, name: str) -> list[Version]:
        """All versions of a model, oldest first.

        Raises:
            RegistryError: no model of this name, or a damaged manifest.
        """
        return [self._read_version(name, number) for number in self._known(name)]

    def version(self, name: str, which: int | str = CHAMPION) -> Version:
        """A version by its number or an alias.

        Raises:
            RegistryError: there is none, or its manifest is damaged.
        """
        number = self._number(_checked(name), which)
        if number is not None and self._storage.is_published(_place(name, number)):
            return self._read_version(name, number)
        known = self._known(name)  # looked at for the message alone: a service asks every second
        if number is None:
            raise RegistryError(
                f"{name} has no {which}; `earshot models show {name}` lists its versions and "
                f"`earshot models promote {name} VERSION` makes one champion"
            )
        there = f"there are {', '.join(map(str, known))}"
        if which in ALIAS_NAMES:
            raise RegistryError(
                f"the {which} of {name}, version {number}, is gone from {self.root} ({there}); put "
                f"it back, or `earshot models rollback {name}`, or `promote {name} VERSION`"
            )
        raise RegistryError(f"{name} has no version {number}; {there}")

    def aliases(self, name: str) -> Aliases:
        """Which versions the aliases of a model mean.

        Raises:
            RegistryError: aliases.json is damaged.
        """
        try:
            content = self._storage.read(f"{_checked(name)}/{ALIASES}")
        except FileNotFoundError:
            return Aliases()
        return parse_aliases(content, f"{self.root}/{name}/{ALIASES}")

    def events(self, name: str) -> list[Event]:
        """Every change of a model, oldest first.

        Raises:
            RegistryError: no model of this name, or a damaged log.
        """
        self._known(name)
        found = self._logged(name)
        last = self.aliases(name).event
        late = last is not None and (not found or last.number > found[-1].number)
        return [*found, last] if last and late else found

    def read(self, name: str, version: Version, file: str) -> bytes:
        """The content of a version's file, checked against the manifest.

        Raises:
            RegistryError: the version has no such file, or it is not as it was registered.
        """
        path = f"{_place(name, version.number)}/{file}"
        if file not in version.files:
            raise RegistryError(f"version {version.number} of {name} was registered without {file}")
        try:
            content = self._storage.read(path)
        except FileNotFoundError as error:
            raise damaged(f"{self.root}/{path}", "it is missing") from error
        if sha256(content) != version.files[file]:
            raise damaged(f"{self.root}/{path}", "it is not what was registered (sha256 differs)")
        return content

    def local_copy(self, name: str, version: Version, file: str) -> Path:
        """A version's file on this machine, checked: itself, or a copy of what a store holds.

        Raises:
            RegistryError: as ``read``.
        """
        content = self.read(name, version, file)
        if self._storage.folder is not None:
            return (self._storage.folder / _place(name, version.number) / file).absolute()
        copy = _cache() / f"{version.files[file]}-{file}"
        with staged_file(copy) as staging:
            staging.write_bytes(content)
        return copy

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
            folder = _place(name, version.number)
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
                self._storage.remove(_place(name, version.number))
        return gone

    # --- inside a change ---

    @contextlib.contextmanager
    def _changing(self, name: str, *, new: bool = False) -> Iterator[None]:
        if not new:
            self._known(name)  # a mistyped name leaves no lock behind
        with self._storage.lock(f"{_checked(name)}/{LOCK}"):
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

    # --- looking up ---

    def _logged(self, name: str) -> list[Event]:
        path = f"{name}/{EVENTS}"
        try:
            return parse_events(self._storage.read(path), f"{self.root}/{path}")
        except FileNotFoundError:
            return []

    def _numbers(self, name: str) -> list[int]:
        found = self._storage.folders(f"{name}/versions")
        numbers = sorted(int(entry) for entry in found if re.fullmatch(r"[1-9][0-9]{0,8}", entry))
        return [n for n in numbers if self._storage.is_published(_place(name, n))]

    def _known(self, name: str) -> list[int]:
        numbers = self._numbers(_checked(name))
        if not numbers:
            there = ", ".join(self.names()) or "none"
            raise RegistryError(
                f"the registry {self.root} has no model {name!r} (there are: {there}); make one "
                f"with `earshot models register {name} RUN`"
            )
        return numbers

    def _number(self, name: str, which: int | str) -> int | None:
        if isinstance(which, int):
            return which
        if which.isdecimal() and len(which) < 10:
            return int(which)
        if which not in ALIAS_NAMES:
            raise RegistryError(
                f"{which!r} is no version of {name}: give a number, {CHAMPION} or {CHALLENGER}"
            )
        return self.aliases(name).aliases.get(which)

    def _read_version(self, name: str, number: int) -> Version:
        path = f"{_place(name, number)}/{MANIFEST}"
        try:
            content = self._storage.read(path)
        except FileNotFoundError as error:
            raise damaged(f"{self.root}/{path}", "it is missing") from error
        version = parse_version(content, f"{self.root}/{path}")
        if version.number != number:
            raise damaged(f"{self.root}/{path}", f"it is of version {version.number}")
        return version


def _cache() -> Path:
    """A folder for copies that nobody else can write to."""
    cache = Path(tempfile.gettempdir()) / f"earshot-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    status = cache.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise RegistryError(f"{cache} belongs to somebody else; set TMPDIR to a folder of yours")
    return cache


def is_name(name: str) -> bool:
    """Whether a model can have this name."""
    return _NAME.fullmatch(name) is not None


def _checked(name: str) -> str:
    if not is_name(name):
        raise RegistryError(
            f"{name!r} cannot be the name of a model: letters, digits, - and _, at most 64"
        )
    return name


def _with_champion(aliases: Aliases, number: int) -> dict[str, int]:
    """The aliases with another champion, who is no challenger any more."""
    others = {alias: n for alias, n in aliases.aliases.items() if n != number}
    return {**others, CHAMPION: number}


def _place(name: str, number: int) -> str:
    return f"{name}/versions/{number}"
