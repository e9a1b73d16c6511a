"""Which audio container some bytes are, told by their content, and how long it says it is.

Sources of the layouts: RIFF and RF64 (EBU Tech 3306), AIFF (Apple, 1989), Sun AU (audio.h), Sony
Wave64 (2003).
"""

import struct

# Leading bytes of the containers handed to libsndfile. It knows some twenty more, rarely met and
# with a history of memory errors, which it would otherwise try in turn.
_MAGIC = {
    b"RIFF": "WAV", b"RIFX": "WAV", b"RF64": "WAV", b"riff": "W64", b"FORM": "AIFF",
    b".snd": "AU", b"caff": "CAF", b"fLaC": "FLAC", b"OggS": "Ogg", b"ID3\x02": "MP3",
    b"ID3\x03": "MP3", b"ID3\x04": "MP3",
}  # fmt: skip
# By which folders are searched; what a file really is, its content tells.
AUDIO_SUFFIXES = frozenset(
    {".aif", ".aifc", ".aiff", ".au", ".caf", ".flac", ".mp3", ".oga", ".ogg", ".opus", ".rf64",
     ".snd", ".w64", ".wav", ".wave"}
)  # fmt: skip
ACCEPTED_FORMATS = "WAV, FLAC, Ogg (Vorbis, Opus), MP3, AIFF, AU, CAF or W64"
# Where the length of the file stands. RIFF and AIFF leave out 8 bytes of header, which some writers
# wrongly count in: a file shorter by that much passes.
_LENGTH_FIELDS = {
    b"RIFF": (4, "<I"), b"RIFX": (4, ">I"), b"FORM": (4, ">I"), b"RF64": (20, "<Q"),
    b"riff": (16, "<Q"),
}  # fmt: skip


def is_placeholder(size: int) -> bool:
    """Whether a size is one of those that programs write for one they do not know yet.

    The largest there is, with or without a sign, or that less a header. Sizes between the two are
    true: recordings of 2 to 4 GB are not rare.
    """
    return 0x7FFFF000 <= size <= 0x80000000 or size >= 0xFFFFF000


def is_accepted(blob: bytes) -> bool:
    """Whether ``blob`` starts like one of the accepted containers."""
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
    """``blob`` without an ID3v2 tag in front of a WAV, where none belongs.

    libsndfile skips the tag too, and then leaves out as many samples at the end as it is long.
    Source: ID3v2.4 section 3.1; its length has seven bits a byte.
    """
    if blob[:3] != b"ID3" or len(blob) < 10:
        return blob
    size = sum(
        (byte & 0x7F) << shift for byte, shift in zip(blob[6:10], (21, 14, 7, 0), strict=True)
    )
    return blob[10 + size :] if blob[10 + size : 14 + size] == b"RIFF" else blob


def declared_bytes(blob: bytes) -> int:
    """The least length of the file by its own header; 0 where that says nothing.

    libsndfile does not tell: it clips what a cut file declares to what is there.
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
    # In 64 bits the largest of 32 is one too; other sizes above it are true.
    unknown = is_placeholder(size) if size < 1 << 32 else size >= 1 << 62
    return 0 if unknown else size


def detect_container(blob: bytes) -> str:
    """The name of an accepted container, by its content: WAV, FLAC, Ogg, MP3 and so on."""
    return _MAGIC.get(strip_id3_tag(blob)[:4], "MP3")
