"""What a registry writes down: versions, aliases and events, as JSON that is read strictly."""

import dataclasses
import datetime
import getpass
import hashlib
import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from earful.models.registry.errors import RegistryError

SCHEMA_VERSION = 1
CHAMPION, CHALLENGER = "champion", "challenger"
ALIAS_NAMES = (CHAMPION, CHALLENGER)
# Files of a version; ``checkpoint.pt`` (to train on from) and ``data.csv`` where they are known.
MODEL_FILE, METRICS_FILE, CARD_FILE, DATA_FILE, CHECKPOINT_FILE = (
    "model.onnx", "metrics.json", "card.md", "data.csv", "checkpoint.pt",
)  # fmt: skip

EventAction = Literal["register", "promote", "challenge", "rollback", "prune"]


@dataclass(frozen=True)
class Version:
    """One released model; ``files`` are sha256 by name.

    parent  the version that it was trained on from, if any
    recipe  identifies what it was made of, so that the same is not made twice; empty if unknown
    """

    number: int
    created: str
    created_by: str
    parent: int | None
    request_hash: str
    note: str
    files: Mapping[str, str]


@dataclass(frozen=True)
class RegistryEvent:
    """A change: which, of what version, when, by whom and why; numbered from 1."""

    number: int
    time: str
    action: EventAction
    version: int
    previous_version: int | None
    created_by: str
    reason: str


@dataclass(frozen=True)
class Aliases:
    """Which versions the aliases mean, champions before this one (the last is the latest), and the
    event that made it so: one file, so that a kill leaves the old or the new state."""

    aliases: Mapping[str, int] = dataclasses.field(default_factory=dict)
    previous_champions: tuple[int, ...] = ()
    event: RegistryEvent | None = None

    @property
    def champion(self) -> int | None:
        return self.aliases.get(CHAMPION)

    def names_of(self, number: int) -> list[str]:
        """Names of the aliases of a version."""
        return [alias for alias, target in self.aliases.items() if target == number]


def to_json(record: Version | Aliases) -> bytes:
    """A record as a file of its own."""
    values = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(record)}
    return (json.dumps(values, indent=2, ensure_ascii=False) + "\n").encode()


def to_json_line(event: RegistryEvent) -> bytes:
    """An event as a line of the log."""
    return (json.dumps(dataclasses.asdict(event), ensure_ascii=False) + "\n").encode()


def parse_version(content: bytes, path: str) -> Version:
    """Raises: RegistryError, where the manifest is damaged."""
    values = _object(content, path)
    try:
        files = {str(name): _string(digest) for name, digest in values.pop("files").items()}
        version = Version(files=files, **values)
        if MODEL_FILE not in files:
            raise ValueError(f"{MODEL_FILE} is not among its files")
        _positive_int(version.number)
        return version
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise damaged_error(path, str(error)) from error


def parse_aliases(content: bytes, path: str) -> Aliases:
    """Raises: RegistryError, where aliases.json is damaged."""
    values = _object(content, path)
    try:
        aliases = {str(name): _positive_int(number) for name, number in values["aliases"].items()}
        if unknown := sorted(set(aliases) - set(ALIAS_NAMES)):
            raise ValueError(f"an alias is called {unknown[0]!r}")
        previous_champions = tuple(_positive_int(number) for number in values["previous_champions"])
        return Aliases(aliases, previous_champions, _event(values["event"]))
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise damaged_error(path, str(error)) from error


def parse_events(content: bytes, path: str) -> list[RegistryEvent]:
    """Raises: RegistryError, where a line of the log is damaged."""
    events: list[RegistryEvent] = []
    for number, line in enumerate(content.splitlines(), 1):
        try:
            event = _event(json.loads(line))
            if event is None:
                raise ValueError("no event")
            events.append(event)
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
            raise damaged_error(f"{path}, line {number}", str(error)) from error
    return events


def damaged_error(path: str, reason: str) -> RegistryError:
    """What is wrong with a file of the registry, and what helps."""
    name = path.partition(", line")[0].rpartition("/")[2]
    advice = {
        "aliases.json": "or move it away; `earful models promote` then says anew which serves",
        "events.jsonl": "or move it away; the log then begins anew",
    }.get(name, "or delete the folder of its version; other versions are not touched")
    return RegistryError(
        f"{path} is damaged: {reason}. Nothing was changed. Put it back from a copy, {advice}"
    )


def utc_now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def user_at_host() -> str:
    """User and machine, as events name who made them."""
    try:
        user = getpass.getuser()
    except (OSError, KeyError):  # a user without a name, as in many containers
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _object(content: bytes, path: str) -> dict[str, Any]:
    try:
        values = json.loads(content)
        if not isinstance(values, dict):
            raise ValueError("no JSON object")
        version = values.pop("schema_version", None)
    except (ValueError, RecursionError) as error:
        raise damaged_error(path, str(error)) from error
    if version != SCHEMA_VERSION:
        raise damaged_error(path, f"it has schema {version!r}, this version reads {SCHEMA_VERSION}")
    return values


def _event(values: Any) -> RegistryEvent | None:
    if values is None:
        return None
    event = RegistryEvent(**values)
    _positive_int(event.number)
    return event


def _positive_int(number: Any) -> int:
    if type(number) is not int or number < 1:
        raise ValueError(f"{number!r} where the number of a version was expected")
    return number


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{value!r} where a text was expected")
    return value
