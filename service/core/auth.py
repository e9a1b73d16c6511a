"""API keys: who may classify, send feedback or administer. Without configured keys everyone may.

A key is sent as ``Authorization: Bearer KEY`` or ``X-API-Key: KEY``, or as the password of Basic
authentication, the only way of some clients (Label Studio). Digests are compared in constant time.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from earful.service.core.errors import RequestError

Scope = Literal["classify", "feedback", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)
_CHALLENGE = {"WWW-Authenticate": "Bearer"}


@dataclass(frozen=True)
class ApiKeys:
    """Pairs of a scope and the SHA-256 of a key; without any, no key is required."""

    digests: tuple[tuple[Scope, bytes], ...] = ()

    @classmethod
    def parse(cls, entries: Iterable[str]) -> "ApiKeys":
        """Parse entries ``SCOPE:KEY``; a key with several scopes has several entries.

        Raises:
            ValueError: an entry has another form; the message does not show the key.
        """
        digests = []
        for number, entry in enumerate(entries, 1):
            scope, _, key = (part.strip() for part in entry.partition(":"))
            if scope not in SCOPES or len(key) < 16 or not key.isascii():
                raise ValueError(
                    f"entry {number} is not SCOPE:KEY with a scope of {', '.join(SCOPES)} and a "
                    "key of 16 ASCII characters or more"
                )
            digests.append((scope, _digest(key)))
        return cls(tuple(digests))

    def check(self, headers: Mapping[str, str], scope: Scope) -> None:
        """Check that the headers of a request hold a key for the scope.

        Raises:
            RequestError: ``unauthorized`` without a known key, ``forbidden`` with a key for other
                scopes.
        """
        if self.digests:
            self.check_key(_presented_key(headers), scope)

    def owner(self, headers: Mapping[str, str]) -> str:
        """Whose request this is: a digest of its key, not the one that keys are compared by.

        Empty if no keys are configured.
        """
        if not self.digests:
            return ""
        return hashlib.sha256(b"owner:" + _digest(_presented_key(headers))).hexdigest()

    def check_key(self, key: str, scope: Scope) -> None:
        """Check that a key is valid for a scope; without configured keys every key is.

        Raises:
            RequestError: ``unauthorized`` or ``forbidden``.
        """
        if not self.digests:
            return
        digest = _digest(key)
        # All are compared, so that the time does not reveal which one matched.
        granted = {s for s, known in self.digests if hmac.compare_digest(digest, known)}
        if not granted:
            raise RequestError(
                "unauthorized", "an API key is required: Authorization: Bearer KEY", _CHALLENGE
            )
        if scope not in granted:
            raise RequestError(
                "forbidden",
                f"this key is for {', '.join(sorted(granted))}, the request needs {scope}",
            )


def _presented_key(headers: Mapping[str, str]) -> str:
    kind, _, key = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return key.strip()
    if kind.lower() == "basic":
        return _password(key.strip())
    return headers.get("x-api-key", "")


def _password(credentials: str) -> str:
    """The password of Basic credentials (RFC 7617), for any user name; empty if malformed."""
    try:
        text = base64.b64decode(credentials, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""
    return text.partition(":")[2]


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()
