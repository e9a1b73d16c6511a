"""Whether a file of phones or browsers is complete: its outermost parts say their lengths.

FFmpeg reads what is there of a file that was cut off, and says nothing.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from earful.data.audio.limits import AudioError
from earful.data.audio.media_formats import EBML_ID, MediaFormat

# Of a file in fragments; what follows is not checked.
_MAX_PARTS = 20_000
_SEGMENT_ID = b"\x18\x53\x80\x67"


def check_media_complete(file: BinaryIO, media: MediaFormat, n_bytes: int) -> None:
    """Check that the parts of a file of ``n_bytes`` end within it.

    Raises:
        AudioError: ``truncated``.
    """
    ends = {"mov": _box_ends, "asf": _asf_ends, "matroska": _segment_end}.get(media.demuxer)
    for end in ends(file, n_bytes) if ends else ():
        if end > n_bytes:
            raise AudioError(
                "truncated", f"the header declares {end} bytes, the file has {n_bytes}"
            )


def _box_ends(file: BinaryIO, n_bytes: int) -> Iterator[int]:
    """Of MP4 and its kin (ISO/IEC 14496-12 section 4.2); a length of 0 is to the end."""
    position = 0
    for _ in range(_MAX_PARTS):
        file.seek(position)
        head = file.read(16)
        if len(head) < 8:
            return
        size = int.from_bytes(head[:4], "big")
        if size == 1 and len(head) == 16:
            size = int.from_bytes(head[8:], "big")
        # After the last box of some files come zeros.
        if size < 8 or (position and not head[4:8].isascii()):
            return
        position += size
        yield position
        if position >= n_bytes:
            return


def _asf_ends(file: BinaryIO, n_bytes: int) -> Iterator[int]:
    """Of WMA: objects with a GUID and a length."""
    position = 0
    for _ in range(_MAX_PARTS):
        file.seek(position)
        head = file.read(24)
        size = struct.unpack_from("<Q", head, 16)[0] if len(head) == 24 else 0
        # A live recording does not say the length of its data.
        if size < 24 or size >= 1 << 62:
            return
        position += size
        yield position
        if position >= n_bytes:
            return


def _segment_end(file: BinaryIO, n_bytes: int) -> Iterator[int]:
    """Of Matroska and WebM; a browser's recording does not say it."""
    del n_bytes
    file.seek(0)
    head = file.read(4096)
    length, position = _vint(head, len(EBML_ID))
    start = position + length
    if head[start : start + 4] == _SEGMENT_ID:
        size, position = _vint(head, start + 4)
        if size:
            yield position + size


def _vint(head: bytes, position: int) -> tuple[int, int]:
    """(value, next position) of a number by RFC 8794, section 4; a value of 0 is unknown."""
    first = head[position] if position < len(head) else 0
    n_bytes = 9 - first.bit_length()
    number = head[position : position + n_bytes]
    if not first or len(number) < n_bytes:
        return 0, position + 1
    value_bits = 7 * n_bytes
    value = int.from_bytes(number, "big") & (1 << value_bits) - 1
    return (0 if value == (1 << value_bits) - 1 else value), position + n_bytes
