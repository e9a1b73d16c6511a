"""Which hosts the service answers for: addresses, loopback's names, and those of a setting.

A page of another site can let its own name point to this service and then read its responses (DNS
rebinding). The browser sends that name as ``Host``; with an address there is nothing to point.
"""

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache

SETTING = "EARFUL_ALLOWED_HOSTS"
ANY_NAME = "*"
# Different hosts whose decision is remembered.
_CACHE_SIZE = 256
# Names as of DNS, and with the underscore of container names (RFC 1123 section 2.1).
_NAME = re.compile(
    r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*"
)
_HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{0,5}))?")


@dataclass(frozen=True)
class Host:
    """A host in lower case, with the brackets of an IPv6 address; the port is None if not given."""

    name: str
    port: int | None

    @property
    def is_address(self) -> bool:
        """Whether it is an IPv4 address in four decimal parts, or an IPv6 address."""
        try:
            ipaddress.ip_address(self.name.strip("[]"))
        except ValueError:
            return False
        return True


@lru_cache(_CACHE_SIZE)
def parse_host(value: bytes) -> Host | None:
    """The host of a ``Host`` header (RFC 9110 section 7.2); None if it is malformed."""
    match = _HOST.fullmatch(value)
    if match is None:
        return None
    port = int(match[2]) if match[2] else None
    host = Host(match[1].decode().lower().removesuffix("."), port)  # "localhost." is absolute
    if port is not None and not 0 < port < 65_536:
        return None
    return None if host.name.startswith("[") and not host.is_address else host


def is_name(text: str) -> bool:
    """Whether a text is the name of a host, in lower case, and not an address."""
    return bool(_NAME.fullmatch(text)) and not Host(text, None).is_address


class AllowedHosts:
    """The names of a list ``NAME,*.NAME,*``.

    Raises:
        ValueError: an entry is none of these.
    """

    def __init__(self, listed: str) -> None:
        entries = [entry.strip().lower() for entry in listed.split(",") if entry.strip()]
        for entry in entries:
            if entry != ANY_NAME and not _NAME.fullmatch(entry.removeprefix("*.")):
                raise ValueError(
                    f"{SETTING} has {entry!r:.80}; write names without scheme and port, as "
                    "earful.example.com, *.example.com for all below it, or * for every name"
                )
        self._any = ANY_NAME in entries
        self._names = {entry for entry in entries if not entry.startswith("*")}
        self._suffixes = tuple(entry[1:] for entry in entries if entry.startswith("*."))
        self.allows = lru_cache(_CACHE_SIZE)(self._allows)

    def lists(self, name: str) -> bool:
        """Whether a name is listed, other than by ``*``."""
        return name in self._names or name.endswith(self._suffixes)

    def _allows(self, host: Host) -> bool:
        """Whether requests to a host are answered."""
        is_loopback = host.name == "localhost" or host.name.endswith(".localhost")
        return self._any or is_loopback or host.is_address or self.lists(host.name)
