"""Looking into a registry: what is there, checked against its manifests; nothing is changed."""

import os
import re
import stat
import tempfile
from pathlib import Path

from earful.data.atomic_write import staged_file
from earful.models.registry.errors import RegistryError
from earful.models.registry.records import (
    ALIAS_NAMES,
    CHALLENGER,
    CHAMPION,
    Aliases,
    Event,
    Version,
    damaged,
    parse_aliases,
    parse_events,
    parse_version,
    sha256,
)
from earful.models.registry.storage import MANIFEST, open_storage

DEFAULT_ROOT = "artifacts/registry"
ALIASES, EVENTS = "aliases.json", "events.jsonl"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class Catalogue:
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
        number = self._number(checked(name), which)
        if number is not None and self._storage.is_published(place_of(name, number)):
            return self._read_version(name, number)
        known = self._known(name)  # looked at for the message alone: a service asks every second
        if number is None:
            raise RegistryError(
                f"{name} has no {which}; `earful models show {name}` lists its versions and "
                f"`earful models promote {name} VERSION` makes one champion"
            )
        there = f"there are {', '.join(map(str, known))}"
        if which in ALIAS_NAMES:
            raise RegistryError(
                f"the {which} of {name}, version {number}, is gone from {self.root} ({there}); put "
                f"it back, or `earful models rollback {name}`, or `promote {name} VERSION`"
            )
        raise RegistryError(f"{name} has no version {number}; {there}")

    def aliases(self, name: str) -> Aliases:
        """Which versions the aliases of a model mean.

        Raises:
            RegistryError: aliases.json is damaged.
        """
        try:
            content = self._storage.read(f"{checked(name)}/{ALIASES}")
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
        path = f"{place_of(name, version.number)}/{file}"
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
            return (self._storage.folder / place_of(name, version.number) / file).absolute()
        copy = _cache() / f"{version.files[file]}-{file}"
        with staged_file(copy) as staging:
            staging.write_bytes(content)
        return copy

    def _logged(self, name: str) -> list[Event]:
        path = f"{name}/{EVENTS}"
        try:
            return parse_events(self._storage.read(path), f"{self.root}/{path}")
        except FileNotFoundError:
            return []

    def _numbers(self, name: str) -> list[int]:
        found = self._storage.folders(f"{name}/versions")
        numbers = sorted(int(entry) for entry in found if re.fullmatch(r"[1-9][0-9]{0,8}", entry))
        return [n for n in numbers if self._storage.is_published(place_of(name, n))]

    def _known(self, name: str) -> list[int]:
        numbers = self._numbers(checked(name))
        if not numbers:
            there = ", ".join(self.names()) or "none"
            raise RegistryError(
                f"the registry {self.root} has no model {name!r} (there are: {there}); make one "
                f"with `earful models register {name} RUN`"
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
        path = f"{place_of(name, number)}/{MANIFEST}"
        try:
            content = self._storage.read(path)
        except FileNotFoundError as error:
            raise damaged(f"{self.root}/{path}", "it is missing") from error
        version = parse_version(content, f"{self.root}/{path}")
        if version.number != number:
            raise damaged(f"{self.root}/{path}", f"it is of version {version.number}")
        return version


def place_of(name: str, number: int) -> str:
    return f"{name}/versions/{number}"


def checked(name: str) -> str:
    if not is_name(name):
        raise RegistryError(
            f"{name!r} cannot be the name of a model: letters, digits, - and _, at most 64"
        )
    return name


def is_name(name: str) -> bool:
    """Whether a model can have this name."""
    return _NAME.fullmatch(name) is not None


def _cache() -> Path:
    """A folder for copies that nobody else can write to."""
    cache = Path(tempfile.gettempdir()) / f"earful-{os.getuid()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    status = cache.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise RegistryError(f"{cache} belongs to somebody else; set TMPDIR to a folder of yours")
    return cache
