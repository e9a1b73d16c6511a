"""FLAC whose header does not say its length, as encoders write to a pipe; libsndfile needs it.

The last frame says where it lies in the stream. Source: RFC 9639, sections 8.2 and 9.1.
"""

import functools
import io
import os
from typing import BinaryIO

from earful.data.audio.limits import AudioError

_STREAMINFO_BYTES = 42  # with the marker and the header of the block
_TOTAL_SAMPLES = slice(21, 26)  # 36 bits
_MAX_METADATA_BLOCKS = 1 << 10
_MAX_FRAME_BYTES = 1 << 18
# False beginnings of a frame, which pass its 8-bit checksum, are rare.
_MAX_CANDIDATES = 8
_MAX_HEADER_BYTES = 16
_BLOCK_SIZES = {1: 192, **{code: 144 << code for code in range(2, 6)}} | {
    code: 1 << code for code in range(8, 16)
}
_NO_END = "truncated or damaged: the last frame of the FLAC is not complete"


def has_unknown_length(head: bytes) -> bool:
    """Whether ``head`` starts a FLAC whose number of samples is 0: unknown."""
    if head[:4] != b"fLaC" or len(head) < _STREAMINFO_BYTES or head[5:8] != b"\0\0\x22":
        return False
    return head[21] & 0x0F == 0 and not any(head[22:26])


def with_length(file: BinaryIO, head: bytes, n_bytes: int) -> BinaryIO:
    """The file with the number of samples in its header, counted by its last frame.

    Raises:
        AudioError: ``truncated`` or ``empty_audio``.
    """
    start = _audio_start(file, n_bytes)
    if start >= n_bytes:
        raise AudioError("empty_audio", "the file has a header and no samples")
    first = max(start, n_bytes - _MAX_FRAME_BYTES)
    file.seek(first)
    samples = _last_sample(file.read(n_bytes - first), max_block=int.from_bytes(head[10:12], "big"))
    patched = bytearray(head[:_STREAMINFO_BYTES])
    patched[_TOTAL_SAMPLES] = (patched[21] << 32 | samples).to_bytes(5, "big")
    file.seek(0)
    return io.BufferedReader(_Patched(file, bytes(patched)))


class _Patched(io.RawIOBase):
    """A file with other first bytes; it does not close the file."""

    def __init__(self, file: BinaryIO, head: bytes) -> None:
        self._file, self._head = file, head

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        # libsndfile seeks to before the start of damaged files.
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._file.tell()}.get(whence, 0)
        if whence == os.SEEK_END:
            return self._file.seek(offset, whence)
        return self._file.seek(max(0, base + offset))

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: "memoryview | bytearray") -> int:  # type: ignore[override]
        position = self._file.tell()
        data = self._file.read(len(buffer))
        if position < len(self._head):
            data = self._head[position : position + len(data)] + data[len(self._head) - position :]
        buffer[: len(data)] = data
        return len(data)


def _audio_start(file: BinaryIO, n_bytes: int) -> int:
    """The position of the first frame, after the metadata blocks."""
    position = 4
    for _ in range(_MAX_METADATA_BLOCKS):
        file.seek(position)
        block = file.read(4)
        if len(block) < 4:
            break
        position += 4 + int.from_bytes(block[1:], "big")
        if block[0] & 0x80 or position > n_bytes:
            break
    return position


def _last_sample(tail: bytes, max_block: int) -> int:
    """The number of samples up to the end of ``tail``, by the frame that ends there."""
    position, n_candidates = len(tail), 0
    while n_candidates < _MAX_CANDIDATES:
        position = max(tail.rfind(sync, 0, position) for sync in (b"\xff\xf8", b"\xff\xf9"))
        if position < 0:
            break
        header = _parse_header(tail[position : position + _MAX_HEADER_BYTES], max_block)
        if header is None:
            continue
        n_candidates += 1
        if _crc(tail[position:], 16, 0x8005) == 0:  # of a frame with its checksum
            first, size = header
            return first + size
    raise AudioError("truncated", _NO_END)


def _parse_header(head: bytes, max_block: int) -> tuple[int, int] | None:
    """(first sample, samples) of a frame that starts with ``head``; None where that is none."""
    if len(head) < 6 or head[3] & 1 or head[2] >> 4 == 0 or head[2] & 15 == 15:
        return None
    code, n_number = head[2] >> 4, _number_bytes(head[4])
    size_bytes = {6: 1, 7: 2}.get(code, 0)
    rate_bytes = {12: 1, 13: 2, 14: 2}.get(head[2] & 15, 0)
    n_bytes = 4 + n_number + size_bytes + rate_bytes + 1
    if len(head) < n_bytes or _crc(head[:n_bytes], 8, 0x07) != 0:
        return None
    number = head[4] & (0x7F if n_number == 1 else 0x7F >> n_number)
    for byte in head[5 : 4 + n_number]:
        number = number << 6 | byte & 0x3F
    rest = 4 + n_number
    size = _BLOCK_SIZES.get(code) or int.from_bytes(head[rest : rest + size_bytes], "big") + 1
    is_variable = head[1] & 1
    return (number if is_variable else number * max_block), size


def _number_bytes(first: int) -> int:
    """The length of a number that is coded as UTF-8 is, of up to seven bytes."""
    ones = next((bit for bit in range(8) if not first & 0x80 >> bit), 8)
    return max(1, ones)


def _crc(data: bytes, bits: int, polynomial: int) -> int:
    table, top, mask = _crc_table(bits, polynomial), bits - 8, (1 << bits) - 1
    crc = 0
    for byte in data:
        crc = (crc << 8 & mask) ^ table[(crc >> top) ^ byte]
    return crc


@functools.cache
def _crc_table(bits: int, polynomial: int) -> list[int]:
    table = []
    for byte in range(256):
        crc = byte << (bits - 8)
        for _ in range(8):
            crc = (crc << 1) ^ (polynomial if crc >> (bits - 1) else 0)
            crc &= (1 << bits) - 1
        table.append(crc)
    return table
