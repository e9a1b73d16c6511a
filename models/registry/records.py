"""Records of a registry: versions, aliases and events as JSON, parsed strictly."""

import dataclasses
import datetime
import hashlib
import json
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from earful.data.atomic_write import json_bytes
from earful.data.system.processes import user_name
from earful.models.registry.errors import RegistryError

SCHEMA_VERSION = 2
CHAMPION, CHALLENGER = "champion", "challenger"
ALIAS_NAMES = (CHAMPION, CHALLENGER)
# Files of a version.
MODEL_FILE, METRICS_FILE, CARD_FILE = "model.onnx", "metrics.json", "card.md"
# Optional files: the training data, and the checkpoint to warm-start from.
DATA_FILE, CHECKPOINT_FILE = "data.csv", "checkpoint.pt"

EventAction = Literal["register", "promote", "challenge", "rollback", "prune"]


@dataclass(frozen=True)
class Version:
    """A released model; ``files`` has the SHA-256 of each file by name.

    parent        the version that it was warm-started from, if any
    request_hash  hash of the retraining request, so that the same one is not run twice; empty if
                  unknown
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
    """A change of a model in the registry; numbered from 1."""

    number: int
    time: str
    action: EventAction
    version: int
    previous_version: int | None
    created_by: str
    reason: str


@dataclass(frozen=True)
class Aliases:
    """Version numbers by alias, previous champions (the latest last), and the last change.

    They are one file, so that a killed process leaves either the old or the new state.
    """

    aliases: Mapping[str, int] = dataclasses.field(default_factory=dict)
    previous_champions: tuple[int, ...] = ()
    event: RegistryEvent | None = None

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


def parse_version(content: bytes, path: str) -> Version:
    """Parse a manifest.

    Raises:
        RegistryError: it is damaged.
    """
    values = _object(content, path)
    try:
        files = {str(name): _string(digest) for name, digest in values.pop("files").items()}
        version = Version(files=files, **values)
        if MODEL_FILE not in files:
            raise ValueError(f"it lists no {MODEL_FILE}")
        _positive_int(version.number)
        return version
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise damaged_error(path, str(error)) from error


def parse_aliases(content: bytes, path: str) -> Aliases:
    """Parse aliases.json.

    Raises:
        RegistryError: it is damaged.
    """
    values = _object(content, path)
    try:
        aliases = {str(name): _positive_int(number) for name, number in values["aliases"].items()}
        if unknown := sorted(set(aliases) - set(ALIAS_NAMES)):
            raise ValueError(f"{unknown[0]!r} is not an alias; use one of {', '.join(ALIAS_NAMES)}")
        previous_champions = tuple(_positive_int(number) for number in values["previous_champions"])
        return Aliases(aliases, previous_champions, _event(values["event"]))
    except KeyError as error:
        raise damaged_error(path, f"it has no {error}") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise damaged_error(path, str(error)) from error


def parse_events(content: bytes, path: str) -> list[RegistryEvent]:
    """Parse the log of events.

    Raises:
        RegistryError: a line is damaged.
    """
    events: list[RegistryEvent] = []
    for number, line in enumerate(content.splitlines(), 1):
        try:
            event = _event(json.loads(line))
            if event is None:
                raise ValueError("expected an event, found null")
            events.append(event)
        except (TypeError, ValueError, KeyError, AttributeError, RecursionError) as error:
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


def _object(content: bytes, path: str) -> dict[str, Any]:
    try:
        values = json.loads(content)
        if not isinstance(values, dict):
            raise ValueError("not a JSON object")
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
        raise ValueError(f"expected a number of 1 or more, found {number!r}")
    return number


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a string, found {value!r}")
    return value
