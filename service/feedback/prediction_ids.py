"""Ids of predictions: what was heard in which audio, signed, so that nothing need be stored.

    id = base64url(version | SHA-256 | score | lengths | label | model's name | its version | MAC)

The same answer has the same id. Whoever has one can say of it what is right, and nobody can make
one up: the key is in the database, where all workers and later starts find it.
"""

import base64
import binascii
import hmac
import struct
from dataclasses import dataclass

KEY_BYTES = 32
_VERSION = 1
_HEAD = struct.Struct(">B32sdHHH")
SCORE_DIGITS = 6  # as in answers
_MAC_BYTES = 16  # HMAC-SHA256, cut to 128 bits (RFC 2104 section 5)
# A label has up to 200 characters, a file name 255 bytes: longer ids are none of ours.
_MAX_CHARACTERS = 2_000


class UnknownPrediction(ValueError):  # noqa: N818 - what it is
    """An id that was not made with this key."""


@dataclass(frozen=True)
class PredictionRecord:
    """What a model heard: ``sha256`` (hexadecimal) is that of the uploaded bytes."""

    sha256: str
    label: str
    score: float
    model_name: str
    model_version: str


class PredictionIds:
    """Signs answers and reads the ids again."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    @property
    def fingerprint(self) -> str:
        """A name for the key that does not tell it."""
        return hmac.digest(self._key, b"fingerprint", "sha256").hex()[:16]

    def sign(
        self, digest: bytes, label: str, score: float, model_name: str, model_version: str
    ) -> str:
        """The id of an answer about audio with the SHA-256 ``digest``; some ten microseconds."""
        texts = (label.encode(), model_name.encode("utf-8", "replace"), model_version.encode())
        head = _HEAD.pack(_VERSION, digest, round(score, SCORE_DIGITS), *map(len, texts))
        body = head + b"".join(texts)
        signed = body + hmac.digest(self._key, body, "sha256")[:_MAC_BYTES]
        return base64.urlsafe_b64encode(signed).rstrip(b"=").decode("ascii")

    def read(self, prediction_id: str) -> PredictionRecord:
        """What an id says.

        Raises:
            UnknownPrediction: it was made up, changed, cut, or made by another service.
        """
        body = self._verified(prediction_id)
        _, digest, score, *lengths = _HEAD.unpack_from(body)
        texts, at = [], _HEAD.size
        for length in lengths:
            texts.append(body[at : at + length].decode())
            at += length
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
            raise UnknownPrediction("not of this service")
        return body
