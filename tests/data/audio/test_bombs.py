"""Small files that are long, or that take long: every format ends at the limit on length."""

import io
import struct

import numpy as np
import pytest
import soundfile

from earful.data.audio.decode import AudioError, AudioLimits, decode
from earful.data.audio.stream_reader import read_blocks
from tests.fixtures.media_files import MEDIA_KINDS, encode_media

RATE_HZ = 8_000
SECONDS = 180
LIMITS = AudioLimits(max_seconds=60)
COMPRESSED = [
    ("OGG", "OPUS"),
    ("OGG", "VORBIS"),
    ("MP3", "MPEG_LAYER_III"),
    ("FLAC", "PCM_16"),
    ("W64", "GSM610"),
    ("WAV", "IMA_ADPCM"),
    ("WAV", "MS_ADPCM"),
    ("CAF", "ALAC_16"),
    ("AU", "G721_32"),
]


def silence(container: str, subtype: str) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(
        buffer, np.zeros(RATE_HZ * SECONDS, np.int16), RATE_HZ, format=container, subtype=subtype
    )
    return buffer.getvalue()


def outcomes(blob: bytes) -> tuple[str, str]:
    """The error codes of a file decoded as a whole and block by block; else ``SECONDS s``."""

    def outcome(seconds: float) -> str:
        return f"{round(seconds)} s"

    try:
        whole = outcome(decode(blob, RATE_HZ, LIMITS).seconds)
    except AudioError as error:
        whole = error.code
    try:
        streamed = outcome(sum(map(len, read_blocks(io.BytesIO(blob), RATE_HZ, LIMITS))) / RATE_HZ)
    except AudioError as error:
        streamed = error.code
    return whole, streamed


@pytest.mark.parametrize(("container", "subtype"), COMPRESSED)
def test_small_file_of_a_long_recording_is_too_long(container: str, subtype: str) -> None:
    assert outcomes(silence(container, subtype)) == ("too_long", "too_long")


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(MEDIA_KINDS) - {"a.mov"}))
def test_small_file_of_a_phone_is_too_long(name: str) -> None:
    blob = encode_media(name, np.zeros(MEDIA_KINDS[name].rate_hz * SECONDS, np.float32))
    assert outcomes(blob) == ("too_long", "too_long")


@pytest.mark.parametrize("subtype", ["OPUS", "VORBIS"])
def test_ogg_that_declares_a_second_gives_a_second(subtype: str) -> None:
    """The last page says how long an Ogg stream is; its checksum is right here."""
    blob = silence("OGG", subtype)
    start = blob.rindex(b"OggS")
    page = bytearray(blob[start:])
    struct.pack_into("<q", page, 6, 48_000 if subtype == "OPUS" else RATE_HZ)
    struct.pack_into("<I", page, 22, 0)
    struct.pack_into("<I", page, 22, ogg_checksum(bytes(page)))
    assert outcomes(blob[:start] + bytes(page)) == ("1 s", "1 s")


def ogg_checksum(page: bytes) -> int:
    """CRC-32 without reflection, start or end value (RFC 3533, section 6)."""
    table = [checksum_entry(number) for number in range(256)]
    register = 0
    for byte in page:
        register = (register << 8 & 0xFFFFFFFF) ^ table[register >> 24 ^ byte]
    return register


def checksum_entry(number: int) -> int:
    register = number << 24
    for _ in range(8):
        register = (register << 1) ^ (0x04C11DB7 if register & 0x80000000 else 0)
    return register & 0xFFFFFFFF


def test_mp3_that_declares_ten_frames_gives_ten_frames() -> None:
    blob = bytearray(silence("MP3", "MPEG_LAYER_III"))
    at = max(blob.find(b"Xing"), blob.find(b"Info"))
    struct.pack_into(">I", blob, at + 8, 10)
    assert outcomes(bytes(blob)) == ("1 s", "1 s")


def test_long_row_of_tags_is_refused() -> None:
    tag = b"ID3\x04\x00\x00" + bytes((0, 0, 0, 10)) + bytes(10)
    one, many = (tag * n + silence("MP3", "MPEG_LAYER_III")[:20_000] for n in (1, 1_000))
    assert outcomes(one) != outcomes(many) == ("unsupported_format", "unsupported_format")


def test_wav_with_endless_chunks_is_refused() -> None:
    sound = io.BytesIO()
    soundfile.write(sound, np.zeros(RATE_HZ, np.int16), RATE_HZ, format="WAV")
    blob = sound.getvalue()
    at = blob.index(b"data")
    few, many = (blob[:at] + b"JUNK\0\0\0\0" * n + blob[at:] for n in (20, 100_000))
    assert outcomes(few) == ("1 s", "1 s")
    assert outcomes(many) == ("unsupported_format", "unsupported_format")
