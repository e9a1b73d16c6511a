"""Records of a registry: versions, aliases and events as JSON, parsed strictly."""

import dataclasses
import datetime
import hashlib
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from earful.data.atomic_write import json_bytes
from earful.data.system.processes import user_name
from earful.data.text.json_input import STRICT, check, parse_json, read_json
from earful.models.registry.errors import RegistryError

SCHEMA_VERSION = 2
CHAMPION, CHALLENGER = "champion", "challenger"
ALIAS_NAMES = (CHAMPION, CHALLENGER)
# Files of a version.
MODEL_FILE, METRICS_FILE, CARD_FILE = "model.onnx", "metrics.json", "card.md"
# Optional files: the training data, and the checkpoint to warm-start from.
DATA_FILE, CHECKPOINT_FILE = "data.csv", "checkpoint.pt"

T = TypeVar("T")
EventAction = Literal["register", "promote", "challenge", "rollback", "prune"]


@dataclass(frozen=True)
class Version:
    """A released model; ``files`` has the SHA-256 of each file by name.

    parent        the version that it was warm-started from, if any
    request_hash  hash of the retraining request, so that the same one is not run twice; empty if
                  unknown
    """

    __pydantic_config__ = STRICT

    number: int
    created: str
    created_by: str
    parent: int | None
    request_hash: str
    note: str
    files: Mapping[str, str]

    def __post_init__(self) -> None:
        _require_numbers(self.number)
        if MODEL_FILE not in self.files:
            raise ValueError(f"it lists no {MODEL_FILE}")


@dataclass(frozen=True)
class RegistryEvent:
    """A change of a model in the registry; numbered from 1."""

    __pydantic_config__ = STRICT

    number: int
    time: str
    action: EventAction
    version: int
    previous_version: int | None
    created_by: str
    reason: str

    def __post_init__(self) -> None:
        _require_numbers(self.number)


@dataclass(frozen=True)
class Aliases:
    """Version numbers by alias, previous champions (the latest last), and the last change.

    They are one file, so that a killed process leaves either the old or the new state.
    """

    __pydantic_config__ = STRICT

    aliases: Mapping[str, int]
    previous_champions: tuple[int, ...]
    event: RegistryEvent | None

    def __post_init__(self) -> None:
        _require_numbers(*self.aliases.values(), *self.previous_champions)
        if unknown := sorted(set(self.aliases) - set(ALIAS_NAMES)):
            raise ValueError(f"{unknown[0]!r} is not an alias; use one of {', '.join(ALIAS_NAMES)}")

    @property
    def champion(self) -> int | None:
        return self.aliases.get(CHAMPION)

    def names_of(self, number: int) -> list[str]:
        """The aliases of a version."""
        return [alias for alias, target in self.aliases.items() if target == number]


def to_json(record: Version | Aliases) -> bytes:
    """A record as the content of its JSON file."""
    values = {"schema_version": SCHEMA_VERSION, **dataclasses.asdict(record)}
    return json_bytes(values)


def to_json_line(event: RegistryEvent) -> bytes:
    """An event as a line of the JSONL log."""
    return (json.dumps(dataclasses.asdict(event), ensure_ascii=False) + "\n").encode()


def parse_record(kind: type[T], content: bytes, path: str) -> T:
    """Parse a manifest or aliases.json; ``path`` is only named.

    Raises:
        RegistryError: it is damaged.
    """
    try:
        values = check(dict[str, Any], read_json(content))
        version = values.pop("schema_version", None)
        if version != SCHEMA_VERSION:
            raise ValueError(f"it has schema {version!r}, this version reads {SCHEMA_VERSION}")
        return check(kind, values)
    except ValueError as error:
        raise damaged_error(path, str(error)) from error


def parse_events(content: bytes, path: str) -> list[RegistryEvent]:
    """Parse the log of events.

    Raises:
        RegistryError: a line is damaged.
    """
    events: list[RegistryEvent] = []
    for number, line in enumerate(content.splitlines(), 1):
        try:
            events.append(parse_json(RegistryEvent, line))
        except ValueError as error:
            raise damaged_error(f"{path}, line {number}", str(error)) from error
    return events


def damaged_error(path: str, reason: str) -> RegistryError:
    """The error of a damaged registry file, with the remedy."""
    name = path.partition(", line")[0].rpartition("/")[2]
    advice = {
        "aliases.json": "or move it away and choose the champion with `earful models promote`",
        "events.jsonl": "or move it away to start a new log",
    }.get(name, "or delete the folder of its version, which leaves the other versions as they are")
    return RegistryError(
        f"{path} is damaged: {reason}. Nothing was changed. Restore it from a copy, {advice}"
    )


def utc_now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def user_at_host() -> str:
    """User and host name, as recorded in events."""
    return f"{user_name()}@{socket.gethostname()}"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _require_numbers(*numbers: int) -> None:
    """Versions and events count from 1."""
    if min(numbers, default=1) < 1:
        raise ValueError(f"expected a number of 1 or more, found {min(numbers)}")
