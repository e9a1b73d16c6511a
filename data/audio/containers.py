"""Audio containers: detection by content, and the file length that the header declares.

Sources: RIFF and RF64 (EBU Tech 3306), AIFF (Apple, 1989), Sun AU (audio.h), Sony
Wave64 (2003), Creative Voice (the Sound Blaster SDK, 1991), IRCAM (sfheader.h of BICSF).
"""

import struct

from earful.data.audio.id3 import after_id3_tag
from earful.data.audio.media_formats import media_format
from earful.data.audio.sphere import SPHERE_MAGIC, sphere_declared_bytes

# As much of a file as tells its format and what its header declares.
HEAD_BYTES = 1 << 13
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
    SPHERE_MAGIC[:4]: "SPH",
    b"Crea": "VOC",
    # The kind of machine that wrote it (VAX, Sun, MIPS, NeXT) in either byte order.
    **{bytes((0x64, 0xA3, kind, 0)): "IRCAM" for kind in range(1, 5)},
    **{bytes((0, kind, 0xA3, 0x64)): "IRCAM" for kind in range(1, 5)},
}
# Formats that nothing here reads, by their leading bytes: an error names them.
_OTHERS = {
    b"ajkg": "Shorten",
    b"MAC ": "Monkey's Audio",
    b"wvpk": "WavPack",
    b"TTA1": "True Audio",
    b"MPCK": "Musepack",
    b"MP+": "Musepack",
    b"DSD ": "DSD",
    b"2BIT": "AVR",
    b" paf": "Ensoniq PARIS",
    b"fap ": "Ensoniq PARIS",
    b"MThd": "MIDI, notes without sound",
    b"FLV\x01": "Flash video",
    b"#!SILK": "SILK",
    b"\x02#!SILK": "SILK of WeChat",
    b"#EXTM3U": "a playlist; give the recording itself",
    b"ffconcat": "a list of files; give the recording itself",
    b"PK\x03\x04": "a ZIP archive; unpack it",
    b"\x1f\x8b": "a gzip archive; unpack it",
    b"data:": "a data URL; decode the base64 after the comma",
    b"{": "JSON",
    b"[": "JSON",
    b"\xff\xfd": "MPEG layer II",
    b"\x0b\x77": "AC-3",
    b"ADIF": "AAC in ADIF",
    b"\x56\xe0": "AAC in LOAS",
    b"\x56\xe1": "AAC in LOAS",
    b"\x00\x00\x01\xba": "MPEG video",
    b"G@": "an MPEG transport stream",
    b".RMF": "RealMedia",
    b".ra\xfd": "RealAudio",
    b"OFR ": "OptimFROG",
    b"FRM8": "DSD",
    b"\x02dss": "DSS of a dictation machine",
    b"\x03ds2": "DSS Pro of a dictation machine",
    b"#!EVRC": "EVRC",
    b"#!AMR_MC": "AMR of several channels",
    b"Rar!": "a RAR archive; unpack it",
    b"7z\xbc\xaf": "a 7z archive; unpack it",
    b"GIF8": "a picture",
    b"UklGR": "a WAV in base64; decode it",
    b"version https://git-lfs": "a pointer of Git LFS; get the file: git lfs pull",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"%PDF": "PDF",
    b"<": "a web page or XML",
}
_START_BYTES = 64
# For searching folders, where every sound counts: what is not read is reported. The format of a
# file is detected from its content.
AUDIO_SUFFIXES = frozenset(
    {
        *(".aif", ".aifc", ".aiff", ".au", ".caf", ".snd", ".voc"),
        *(".dsf", ".nist", ".rf64", ".sf", ".sph", ".w64", ".wav", ".wave"),
        *(".ape", ".flac", ".mp3", ".mpc", ".oga", ".ogg", ".opus", ".spx", ".tta", ".wv"),
        *(".3g2", ".3gp", ".3gpp", ".aac", ".ac3", ".adts", ".amr", ".asf", ".awb", ".wma"),
        *(".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov", ".mp4", ".weba", ".webm"),
    }
)
ACCEPTED_FORMATS = (
    "WAV, FLAC, Ogg (Vorbis, Opus), MP3, AIFF, AU, CAF, W64, NIST SPHERE, VOC, IRCAM, and with the "
    "extra `media` M4A, MP4, MOV, WebM, Matroska, 3GP, AMR, AAC or WMA"
)
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


def is_accepted(head: bytes) -> bool:
    """Whether ``head`` starts with the signature of an accepted container."""
    return is_native(head) or media_format(head) is not None


def is_native(head: bytes) -> bool:
    """Whether libsndfile is asked to read a file that starts with ``head``."""
    # MP3 has no magic number: a frame starts with 11 set bits, then layer III and a valid rate.
    mpeg_frame = (
        len(head) > 3
        and head[0] == 0xFF
        and head[1] & 0xE6 == 0xE2
        and head[2] & 0xF0 not in (0x00, 0xF0)
        and head[2] & 0x0C != 0x0C
    )
    return head[:4] in _MAGIC or mpeg_frame


def describe_other(head: bytes) -> str:
    """What a file that is not accepted is by its first bytes; empty if that is not known."""
    if head[:4] == b"RIFF" and head[8:12] != b"WAVE":
        return {b"AVI ": "AVI video", b"WEBP": "a picture", b"QLCM": "QCP"}.get(head[8:12], "")
    start = head[:_START_BYTES].removeprefix(b"\xef\xbb\xbf").lstrip()  # of a text
    return next((name for magic, name in _OTHERS.items() if start.startswith(magic)), "")


def strip_id3_tag(blob: bytes) -> bytes:
    """``blob`` without an ID3v2 tag before a WAV header, where it is invalid.

    libsndfile skips the tag too, but then drops samples of the same length at the end.
    """
    if blob[:3] != b"ID3":
        return blob
    rest = after_id3_tag(blob)
    return rest if rest[:4] == b"RIFF" else blob


def declared_bytes(blob: bytes) -> int:
    """The minimum file length that the header declares; 0 if it declares none.

    libsndfile does not report it: for a truncated file it clips the length to the bytes present.
    """
    if len(blob) < 28:
        return 0
    if blob.startswith(SPHERE_MAGIC):
        return sphere_declared_bytes(blob)
    if blob[:4] == b"Crea":
        return _voc_declared_bytes(blob)
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
    """The name of an accepted container by its content: WAV, FLAC, Ogg, MP3, M4A, ..."""
    media = media_format(blob)
    return media.suffix.upper() if media else _MAGIC.get(strip_id3_tag(blob)[:4], "MP3")


def _voc_declared_bytes(head: bytes) -> int:
    """The end of the first block, which holds the samples of most files."""
    start = int.from_bytes(head[20:22], "little")
    has_samples = head[start : start + 1] in (b"\x01", b"\x09")
    return start + 4 + int.from_bytes(head[start + 1 : start + 4], "little") if has_samples else 0
