"""Prediction ids: signed tokens that hold the prediction itself, so that nothing is stored.

    id = base64url(version | SHA-256 | score | lengths | label | model name | model version | MAC)

The same prediction has the same id. A client sends it back with feedback; it cannot be forged. The
key is in the database, shared by all workers and kept across restarts.
"""

import base64
import binascii
import hmac
import struct
from dataclasses import dataclass

from earful.service.core.defaults import SCORE_DIGITS

KEY_BYTES = 32
_VERSION = 1
_HEAD = struct.Struct(">B32sdHHH")
_MAC_BYTES = 16  # HMAC-SHA256 truncated to 128 bits (RFC 2104 section 5)
# A label has up to 200 characters and a model name 255 bytes, so a valid id is shorter.
_MAX_CHARACTERS = 2_000


class UnknownPrediction(ValueError):  # noqa: N818 - names the state
    """The id was not signed with this key."""


@dataclass(frozen=True)
class PredictionRecord:
    """A prediction; ``sha256`` is the hexadecimal hash of the uploaded bytes."""

    sha256: str
    label: str
    score: float
    model_name: str
    model_version: str


class PredictionIds:
    """Signs predictions and verifies their ids."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @property
    def fingerprint(self) -> str:
        """Identifies the key without revealing it."""
        return hmac.digest(self._key, b"fingerprint", "sha256").hex()[:16]

    def pseudonym(self, text: str) -> str:
        """A name for a key or an address, which nobody without this key finds again; 16 hex."""
        return hmac.digest(self._key, b"sender:" + text.encode(), "sha256").hex()[:16]

    def sign(
        self, digest: bytes, label: str, score: float, model_name: str, model_version: str
    ) -> str:
        """The id of a prediction for audio with the SHA-256 ``digest``; takes about 10 µs."""
        texts = (label.encode(), model_name.encode("utf-8", "replace"), model_version.encode())
        head = _HEAD.pack(_VERSION, digest, round(score, SCORE_DIGITS), *map(len, texts))
        body = head + b"".join(texts)
        signed = body + hmac.digest(self._key, body, "sha256")[:_MAC_BYTES]
        return base64.urlsafe_b64encode(signed).rstrip(b"=").decode("ascii")

    def read(self, prediction_id: str) -> PredictionRecord:
        """Verify an id and return its prediction.

        Raises:
            UnknownPrediction: the id is forged, altered, truncated, or from another service.
        """
        body = self._verified(prediction_id)
        _, digest, score, *lengths = _HEAD.unpack_from(body)
        texts, offset = [], _HEAD.size
        for length in lengths:
            texts.append(body[offset : offset + length].decode())
            offset += length
        label, model_name, model_version = texts
        return PredictionRecord(digest.hex(), label, score, model_name, model_version)

    def _verified(self, prediction_id: str) -> bytes:
        try:
            if len(prediction_id) > _MAX_CHARACTERS:
                raise UnknownPrediction("too long")
            encoded = prediction_id.encode("ascii")
            signed = base64.b64decode(encoded + b"=" * (-len(encoded) % 4), b"-_", validate=True)
        except (UnicodeEncodeError, binascii.Error) as error:
            raise UnknownPrediction("not base64url") from error
        body, mac = signed[:-_MAC_BYTES], signed[-_MAC_BYTES:]
        expected = hmac.digest(self._key, body, "sha256")[:_MAC_BYTES]
        if not hmac.compare_digest(mac, expected) or body[:1] != bytes([_VERSION]):
            raise UnknownPrediction("not signed by this service")
        return body
