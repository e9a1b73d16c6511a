"""Reads a registry: versions, aliases and events; files are checked against their manifests."""

import re
import stat
import tempfile
from pathlib import Path

from earful.data.atomic_write import staged_file
from earful.data.errors import did_you_mean
from earful.data.system.processes import is_own_folder, user_id
from earful.models.registry.errors import RegistryError
from earful.models.registry.records import (
    ALIAS_NAMES,
    CHALLENGER,
    CHAMPION,
    Aliases,
    RegistryEvent,
    Version,
    damaged_error,
    parse_events,
    parse_record,
    sha256,
)
from earful.models.registry.storage import MANIFEST_FILE, open_storage

ALIASES_FILE, EVENTS_FILE = "aliases.json", "events.jsonl"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class RegistryReader:
    """Read access to the models at ``root``, a folder or a URL that fsspec supports."""

    def __init__(self, root: str) -> None:
        self.root = root
        self._storage = open_storage(root)

    def names(self) -> list[str]:
        """Names of the models that have a version."""
        return sorted(
            name
            for name in self._storage.folders("")
            if _NAME.fullmatch(name) and self._version_numbers(name)
        )

    def numbers(self, name: str) -> list[int]:
        """Version numbers of a model, oldest first.

        Raises:
            RegistryError: there is no model of this name.
        """
        numbers = self._version_numbers(checked_name(name))
        if not numbers:
            names = self.names()
            available = ", ".join(names) or "none"
            raise RegistryError(
                f"the registry {self.root} has no model {name!r}{did_you_mean(name, names)} "
                f"(there are: {available}); "
                f"register one with `earful models register {name} RUN`"
            )
        return numbers

    def versions(self, name: str) -> list[Version]:
        """All versions of a model, oldest first.

        Raises:
            RegistryError: there is no model of this name, or a manifest is damaged.
        """
        return [self._read_version(name, number) for number in self.numbers(name)]

    def version(self, name: str, version_or_alias: int | str = CHAMPION) -> Version:
        """A version by its number or alias.

        Raises:
            RegistryError: there is none, or its manifest is damaged.
        """
        number = self._resolve_number(checked_name(name), version_or_alias)
        if number is not None and self._storage.is_published(version_folder(name, number)):
            return self._read_version(name, number)
        # Listed for the message only: a service calls this every second.
        known = self.numbers(name)
        if number is None:
            raise RegistryError(
                f"{name} has no {version_or_alias}; `earful models show {name}` lists its versions "
                f"and `earful models promote {name} VERSION` chooses the champion"
            )
        available = f"there are {', '.join(map(str, known))}"
        if version_or_alias in ALIAS_NAMES:
            raise RegistryError(
                f"version {number}, the {version_or_alias} of {name}, is missing from {self.root} "
                f"({available}); restore it, or use `earful models rollback {name}` or "
                f"`earful models promote {name} VERSION`"
            )
        raise RegistryError(f"{name} has no version {number}; {available}")

    def aliases(self, name: str) -> Aliases:
        """The aliases of a model and the versions they point to.

        Raises:
            RegistryError: aliases.json is damaged.
        """
        content = self._read_if_any(f"{checked_name(name)}/{ALIASES_FILE}")
        if content is None:
            return Aliases({}, (), None)
        return parse_record(Aliases, content, f"{self.root}/{name}/{ALIASES_FILE}")

    def events(self, name: str) -> list[RegistryEvent]:
        """All changes of a model, oldest first.

        Raises:
            RegistryError: there is no model of this name, or its log is damaged.
        """
        self.numbers(name)
        return self._add_unlogged(name, self._logged_events(name))

    def read(self, name: str, version: Version, file: str) -> bytes:
        """The content of a version's file, checked against its SHA-256 in the manifest.

        Raises:
            RegistryError: the version has no such file, or the file is missing or changed.
        """
        path = f"{version_folder(name, version.number)}/{file}"
        if file not in version.files:
            raise RegistryError(f"version {version.number} of {name} was registered without {file}")
        content = self._require(path)
        if sha256(content) != version.files[file]:
            raise damaged_error(
                f"{self.root}/{path}", "it was changed after registration (sha256 differs)"
            )
        return content

    def local_copy(self, name: str, version: Version, file: str) -> Path:
        """The local path of a version's file, checked; a cached copy if the store is remote.

        Raises:
            RegistryError: as ``read``.
        """
        content = self.read(name, version, file)
        if self._storage.folder is not None:
            return (self._storage.folder / version_folder(name, version.number) / file).absolute()
        copy = _cache_folder() / f"{version.files[file]}-{file}"
        with staged_file(copy) as staging:
            staging.write_bytes(content)
        return copy

    def _read_if_any(self, path: str) -> bytes | None:
        try:
            return self._storage.read(path)
        except FileNotFoundError:
            return None

    def _require(self, path: str) -> bytes:
        content = self._read_if_any(path)
        if content is None:
            raise damaged_error(f"{self.root}/{path}", "it is missing")
        return content

    def _logged_events(self, name: str) -> list[RegistryEvent]:
        path = f"{name}/{EVENTS_FILE}"
        return parse_events(self._read_if_any(path) or b"", f"{self.root}/{path}")

    def _add_unlogged(self, name: str, logged: list[RegistryEvent]) -> list[RegistryEvent]:
        """The events and, if a process was killed before it logged it, the last change."""
        last = self.aliases(name).event
        if last is None or (logged and last.number <= logged[-1].number):
            return logged
        return [*logged, last]

    def _version_numbers(self, name: str) -> list[int]:
        folder_names = self._storage.folders(f"{name}/versions")
        numbers = sorted(
            int(entry) for entry in folder_names if re.fullmatch(r"[1-9][0-9]{0,8}", entry)
        )
        return [n for n in numbers if self._storage.is_published(version_folder(name, n))]

    def _resolve_number(self, name: str, version_or_alias: int | str) -> int | None:
        if isinstance(version_or_alias, int):
            return version_or_alias
        if version_or_alias.isdecimal() and len(version_or_alias) < 10:
            return int(version_or_alias)
        if version_or_alias not in ALIAS_NAMES:
            raise RegistryError(
                f"{version_or_alias!r} is not a version of {name}"
                f"{did_you_mean(version_or_alias, ALIAS_NAMES)}; use a number, {CHAMPION} or "
                f"{CHALLENGER}"
            )
        return self.aliases(name).aliases.get(version_or_alias)

    def _read_version(self, name: str, number: int) -> Version:
        path = f"{version_folder(name, number)}/{MANIFEST_FILE}"
        version = parse_record(Version, self._require(path), f"{self.root}/{path}")
        if version.number != number:
            raise damaged_error(f"{self.root}/{path}", f"it describes version {version.number}")
        return version


def version_folder(name: str, number: int) -> str:
    return f"{name}/versions/{number}"


def checked_name(name: str) -> str:
    if not is_model_name(name):
        raise RegistryError(
            f"{name!r} cannot be a model name; use at most 64 letters, digits, - and _, "
            "with a letter or digit first"
        )
    return name


def is_model_name(name: str) -> bool:
    """Whether a model can have this name."""
    return _NAME.fullmatch(name) is not None


def _cache_folder() -> Path:
    """A folder for cached copies that no other user can write to."""
    cache = Path(tempfile.gettempdir()) / f"earful-{user_id()}"
    cache.mkdir(mode=0o700, exist_ok=True)
    status = cache.lstat()
    if not (stat.S_ISDIR(status.st_mode) and is_own_folder(status)):
        raise RegistryError(f"other users can write to {cache}; set TMPDIR to a folder of your own")
    return cache
