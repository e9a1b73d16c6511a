"""Audio containers: detection by content, and the file length that the header declares.

Sources: RIFF and RF64 (EBU Tech 3306), AIFF (Apple, 1989), Sun AU (audio.h), Sony
Wave64 (2003).
"""

import struct

# Leading bytes of the containers passed to libsndfile. It supports some twenty more, rarely used
# and with a history of memory errors; without this check it would try them all.
_MAGIC = {
    b"RIFF": "WAV",
    b"RIFX": "WAV",
    b"RF64": "WAV",
    b"riff": "W64",
    b"FORM": "AIFF",
    b".snd": "AU",
    b"caff": "CAF",
    b"fLaC": "FLAC",
    b"OggS": "Ogg",
    b"ID3\x02": "MP3",
    b"ID3\x03": "MP3",
    b"ID3\x04": "MP3",
}
# For searching folders; the format of a file is detected from its content.
AUDIO_SUFFIXES = frozenset(
    {
        ".aif",
        ".aifc",
        ".aiff",
        ".au",
        ".caf",
        ".flac",
        ".mp3",
        ".oga",
        ".ogg",
        ".opus",
        ".rf64",
        ".snd",
        ".w64",
        ".wav",
        ".wave",
    }
)
ACCEPTED_FORMATS = "WAV, FLAC, Ogg (Vorbis, Opus), MP3, AIFF, AU, CAF or W64"
# Position and layout of the file length. RIFF and AIFF exclude 8 header bytes, which some writers
# wrongly include: a file shorter by 8 bytes passes.
_LENGTH_FIELDS = {
    b"RIFF": (4, "<I"),
    b"RIFX": (4, ">I"),
    b"FORM": (4, ">I"),
    b"RF64": (20, "<Q"),
    b"riff": (16, "<Q"),
}


def is_placeholder(size: int) -> bool:
    """Whether a 32-bit size is a placeholder that streaming writers use for an unknown length.

    Placeholders are the largest signed or unsigned value, or slightly less (minus a header). Sizes
    in between are real: recordings of 2 to 4 GB are not rare.
    """
    return 0x7FFFF000 <= size <= 0x80000000 or size >= 0xFFFFF000


def is_accepted(blob: bytes) -> bool:
    """Whether ``blob`` starts with the signature of an accepted container."""
    # MP3 has no magic number: a frame starts with 11 set bits, then layer III and a valid rate.
    mpeg_frame = (
        len(blob) > 3
        and blob[0] == 0xFF
        and blob[1] & 0xE6 == 0xE2
        and blob[2] & 0xF0 not in (0x00, 0xF0)
        and blob[2] & 0x0C != 0x0C
    )
    return blob[:4] in _MAGIC or mpeg_frame


def strip_id3_tag(blob: bytes) -> bytes:
    """``blob`` without an ID3v2 tag before a WAV header, where it is invalid.

    libsndfile skips the tag too, but then drops samples of the same length at the end.
    Source: ID3v2.4 section 3.1; its length has seven bits per byte.
    """
    if blob[:3] != b"ID3" or len(blob) < 10:
        return blob
    size = sum(
        (byte & 0x7F) << shift for byte, shift in zip(blob[6:10], (21, 14, 7, 0), strict=True)
    )
    return blob[10 + size :] if blob[10 + size : 14 + size] == b"RIFF" else blob


def declared_bytes(blob: bytes) -> int:
    """The minimum file length that the header declares; 0 if it declares none.

    libsndfile does not report it: for a truncated file it clips the length to the bytes present.
    """
    if len(blob) < 28:
        return 0
    if blob[:4] == b".snd":
        start, size = struct.unpack_from(">II", blob, 4)
        return 0 if is_placeholder(size) else int(start + size)
    if blob[:4] not in _LENGTH_FIELDS:
        return 0
    position, layout = _LENGTH_FIELDS[blob[:4]]
    size = int(struct.unpack_from(layout, blob, position)[0])
    # In a 64-bit field the largest 32-bit value is a placeholder too; larger sizes are real.
    unknown = is_placeholder(size) if size < 1 << 32 else size >= 1 << 62
    return 0 if unknown else size


def detect_container(blob: bytes) -> str:
    """The name of an accepted container by its content: WAV, FLAC, Ogg, MP3, ..."""
    return _MAGIC.get(strip_id3_tag(blob)[:4], "MP3")
