"""The formats of phones, browsers and Windows, which PyAV reads: detected by their content.

Sources: ISO/IEC 14496-12 section 4.3 (``ftyp``) and Apple's "QuickTime File Format" (2016);
RFC 8794 (EBML) and RFC 9559 (Matroska); RFC 4867 section 5 (AMR); Microsoft, "Advanced Systems
Format" 1.2 (2004); ISO/IEC 14496-3 section 1.A.2 (ADTS); Apple, "Core Audio Format" 1.0 (2011).
"""

from dataclasses import dataclass

from earful.data.audio.id3 import after_id3_tag


@dataclass(frozen=True)
class MediaFormat:
    """A format: its name for messages, FFmpeg's demuxer for it, and the usual file suffix."""

    name: str
    demuxer: str
    suffix: str


_M4A = MediaFormat("M4A", "mov", "m4a")
_MP4 = MediaFormat("MP4", "mov", "mp4")
_MOV = MediaFormat("QuickTime MOV", "mov", "mov")
_3GP = MediaFormat("3GP", "mov", "3gp")
_WEBM = MediaFormat("WebM", "matroska", "webm")
_MATROSKA = MediaFormat("Matroska", "matroska", "mkv")
_AMR = MediaFormat("AMR", "amr", "amr")
_ASF = MediaFormat("WMA", "asf", "wma")
_ADTS = MediaFormat("AAC", "aac", "aac")
_CAF = MediaFormat("CAF with a codec of phones", "caf", "caf")

EBML_ID = b"\x1a\x45\xdf\xa3"
ASF_HEADER_GUID = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
# Of MOV files from before ``ftyp`` the first box is one of these.
_OLD_MOV_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip")
_MAX_FIRST_BOX_BYTES = 1 << 16  # of a box that holds no samples
# What libsndfile decodes in a CAF.
_PLAIN_CAF_CODECS = (b"lpcm", b"alac", b"ulaw", b"alaw")
_DOCTYPE_BYTES = 64  # the document type is among the first of an EBML header


def media_format(head: bytes) -> MediaFormat | None:
    """The format of a file that starts with ``head``, at least 32 bytes; None for any other."""
    head = after_id3_tag(head)
    if head[4:8] == b"ftyp":
        return _by_brand(head[8:12])
    if head[:4] == EBML_ID:
        return _WEBM if b"webm" in head[:_DOCTYPE_BYTES] else _MATROSKA
    return next((media for media, has_signature in _SIGNATURES if has_signature(head)), None)


def _by_brand(brand: bytes) -> MediaFormat:
    if brand in (b"M4A ", b"M4B "):
        return _M4A
    if brand == b"qt  ":
        return _MOV
    return _3GP if brand[:2] == b"3g" else _MP4


def _is_caf_with_codec(head: bytes) -> bool:
    return head[:4] == b"caff" and len(head) >= 32 and head[28:32] not in _PLAIN_CAF_CODECS


def _is_old_mov(head: bytes) -> bool:
    """Whether the first box is one of MOV, of a plausible length."""
    if head[4:8] not in _OLD_MOV_BOXES:
        return False
    size = int.from_bytes(head[:4], "big")
    is_large = head[4:8] in (b"moov", b"mdat")  # 1: its length follows in 64 bits
    return size == 1 or 8 <= size < (1 << 31 if is_large else _MAX_FIRST_BOX_BYTES)


def _is_adts(head: bytes) -> bool:
    """Whether ``head`` starts with a frame of ADTS: 12 set bits, layer 0, a rate and a length."""
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return False
    n_bytes = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    next_frame = head[n_bytes : n_bytes + 2]
    follows = len(next_frame) < 2 or (next_frame[0] == 0xFF and next_frame[1] & 0xF6 == 0xF0)
    return (head[2] >> 2 & 15) < 13 and n_bytes >= 7 and follows


_SIGNATURES = (
    (_MOV, _is_old_mov),
    (_AMR, lambda head: head.startswith((b"#!AMR\n", b"#!AMR-WB\n"))),
    (_ASF, lambda head: head.startswith(ASF_HEADER_GUID)),
    (_CAF, _is_caf_with_codec),
    (_ADTS, _is_adts),
)
