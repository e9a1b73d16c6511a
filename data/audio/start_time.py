"""When a recording was started, by its recorder's clock: from its name, else from its header.

Names of common recorders hold date and time: ``20240510_053000.WAV`` (AudioMoth, SM4),
``SMM01234_20240510_053000.wav``, ``2024-05-10T05-30-00.flac``, ``rec_2024-05-10_05.30.00.wav``.
In a WAV, the chunk ``bext`` (EBU Tech 3285) and the comment of AudioMoth say it.
"""

import re
import struct
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

_NAME = re.compile(
    r"(?<!\d)(\d{4})([-_.]?)(\d\d)\2(\d\d)[T_ .-]*(\d\d)[-:._h]?(\d\d)(?:[-:._m]?(\d\d))?(?!\d)"
)
# AudioMoth firmware: "Recorded at 05:30:00 10/05/2024 (UTC) by AudioMoth 24F319...".
_AUDIOMOTH = re.compile(rb"Recorded at (\d\d):(\d\d):(\d\d)(?:\.\d+)? (\d\d)/(\d\d)/(\d{4})")
_BEXT = re.compile(rb"(\d{4}).(\d\d).(\d\d)(\d\d).(\d\d).(\d\d)")
_BEXT_DATE, _BEXT_SIZE = 256 + 32 + 32, 10 + 8
_MIN_YEAR, _MAX_YEAR = 1990, 2100
# Of a chunk; a list of comments is shorter, and the sound is skipped.
_MAX_CHUNK_BYTES, _MAX_CHUNKS = 1 << 16, 64


def recording_start(path: Path) -> datetime | None:
    """The start of a recording without a time zone; None if nothing says it.

    The file need not exist if its name says it.
    """
    return start_from_name(path.name) or _start_from_header(path)


def start_from_name(name: str) -> datetime | None:
    """Date and time in a file name; None if there is none, or no valid one."""
    for match in _NAME.finditer(name):
        year, _, *rest = match.groups()
        if found := _valid([year, *(part or "0" for part in rest)]):
            return found
    return None


def _start_from_header(path: Path) -> datetime | None:
    try:
        with path.open("rb") as file:
            for name, content in _wav_chunks(file):
                if found := _start_from_chunk(name, content):
                    return found
    except (OSError, ValueError):  # missing, not readable, or not a valid name
        pass
    return None


def _start_from_chunk(name: bytes, content: bytes) -> datetime | None:
    if name == b"bext":
        match = _BEXT.match(content[_BEXT_DATE : _BEXT_DATE + _BEXT_SIZE])
        return _valid(match.groups()) if match else None
    match = _AUDIOMOTH.search(content) if name == b"LIST" else None
    if match is None:
        return None
    *time, day, month, year = match.groups()
    return _valid((year, month, day, *time))


def _wav_chunks(file: BinaryIO) -> Iterator[tuple[bytes, bytes]]:
    """(name, content) of the chunks of a WAV that may hold a date, wherever they are in it."""
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RF64") or head[8:] != b"WAVE":
        return
    for _ in range(_MAX_CHUNKS):
        header = file.read(8)
        if len(header) < 8:
            return
        name, size = header[:4], struct.unpack("<I", header[4:])[0]
        end = file.tell() + size + size % 2
        if name in (b"bext", b"LIST"):
            yield name, file.read(min(size, _MAX_CHUNK_BYTES))
        file.seek(end)


def _valid(parts: "tuple[str | bytes, ...] | list[str]") -> datetime | None:
    year, month, day, hour, minute, second = (int(part) for part in parts)
    try:
        found = datetime(year, month, day, hour, minute, second)
    except ValueError:
        return None
    return found if _MIN_YEAR <= year < _MAX_YEAR else None
