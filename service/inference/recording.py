"""A recording of any length, read in blocks so short that requests can be answered in between."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from earful.data.audio.containers import strip_id3_tag
from earful.data.audio.libsndfile import SeekableBytes
from earful.data.audio.limits import AudioLimits, Waveform, check_bytes
from earful.data.audio.stream_reader import header_seconds, read_blocks
from earful.service.core.spooled_file import SpooledFile

_BLOCK_SECONDS = 4.0
# While short files are served, the thread works for fractions of a millisecond and rests between
# them: the system wakes a thread behind one that goes on only after some milliseconds.
_BUSY_BLOCK_SECONDS = 0.25
# While recordings are read, other threads get the interpreter sooner.
_SWITCH_SECONDS = 0.0001

# What is read: decoded samples, the bytes of a file, a temporary file, or a file on disk.
Source = Waveform | bytes | SpooledFile | Path


class _QuickSwitching:
    """Lets other threads get the interpreter sooner while anybody is within the context."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users, self._usual_seconds = 0, sys.getswitchinterval()

    def __enter__(self) -> None:
        with self._lock:
            self._users += 1
            sys.setswitchinterval(_SWITCH_SECONDS)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._users -= 1
            if not self._users:
                sys.setswitchinterval(self._usual_seconds)


_quick_switching = _QuickSwitching()


class Recording:
    """Passes over a recording in blocks (samples,) at ``sample_rate_hz``; used on one thread.

    While ``is_busy`` says that short files are served, it rests for ``rest_seconds`` after each
    quarter of a second of audio.
    """

    def __init__(
        self,
        source: Source,
        sample_rate_hz: int,
        limits: AudioLimits,
        is_busy: Callable[[], bool],
        rest_seconds: float,
    ) -> None:
        self._source, self._rate_hz, self._limits = source, sample_rate_hz, limits
        self._is_busy, self._rest_seconds = is_busy, rest_seconds

    def seconds(self) -> float | None:
        """The length by the header, None if it does not have it.

        Raises:
            AudioError: the header is unusable, or beyond the limits.
        """
        if isinstance(self._source, np.ndarray):
            return len(self._source) / self._rate_hz
        with self._open(self._source) as file:
            return header_seconds(file, self._limits)

    def blocks(self) -> Iterator[Waveform]:
        """Non-empty blocks, short enough to be cancelled soon.

        Raises:
            AudioError: with a code of ``data.audio.decode``; for damaged files after some blocks.
        """
        with _quick_switching:
            if isinstance(self._source, np.ndarray):
                yield from self._cut(self._source)
                return
            with self._open(self._source) as file:
                for block in read_blocks(file, self._rate_hz, self._limits):
                    yield from self._cut(block)

    def _open(
        self, source: bytes | SpooledFile | Path
    ) -> contextlib.AbstractContextManager[Path | BinaryIO]:
        if isinstance(source, Path):
            return contextlib.nullcontext(source)
        if isinstance(source, bytes):
            return SeekableBytes(strip_id3_tag(source))
        check_bytes(source.n_bytes, self._limits)
        return source.reopen()

    def _cut(self, block: Waveform) -> Iterator[Waveform]:
        """The block in pieces, with a rest after each while short files are served."""
        while len(block):
            is_busy = self._is_busy()
            seconds = _BUSY_BLOCK_SECONDS if is_busy else _BLOCK_SECONDS
            size = max(1, round(seconds * self._rate_hz))
            yield block[:size]
            block = block[size:]
            if is_busy:
                time.sleep(self._rest_seconds)
