"""Reads the audio of inputs: short ones whole, long ones block by block, so memory stays flat."""

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from earful.data.audio.decode import (
    FILE_LIMITS,
    AudioError,
    AudioLimits,
    Decoded,
    Waveform,
    decode,
    extract_segment,
    read_file,
)
from earful.data.audio.stream_reader import read_blocks, read_segment, segment_blocks
from earful.service.batch.inputs import STANDARD_INPUT, Input
from earful.service.batch.remote import fetch_bytes, fetch_to_file, is_remote

# (input, seconds of it read since the last call)
OnRead = Callable[[Input, float], None]
# Starts a pass over a recording: non-empty blocks (samples,) float32 at the model's rate.
Blocks = Callable[[], Iterator[Waveform]]
# Longer or larger recordings are read block by block.
IN_MEMORY_LIMITS = AudioLimits(max_bytes=8 << 20, max_seconds=60.0)
_TOO_MUCH = ("too_long", "too_large")


class InputReader:
    """Reads inputs one after another, mono at ``sample_rate_hz``."""

    def __init__(self, sample_rate_hz: int, on_read: OnRead) -> None:
        self._rate_hz, self._on_read = sample_rate_hz, on_read
        self._last_file: tuple[str, Decoded | AudioError | None] | None = None

    @contextlib.contextmanager
    def open(self, source: Input, *, damaged: bool = False) -> Iterator[Waveform | Blocks]:
        """The audio of an input: its samples (samples,) if it is short, otherwise its blocks.

        With ``damaged`` also a short recording is given in blocks if it is truncated or damaged:
        those that can be read, then the error.

        Raises:
            AudioError: with a code of ``data.audio.decode``.
        """
        if source.start_seconds is not None:
            yield self._segment(source, source.start_seconds, source.end_seconds or 0.0)
            return
        blob, problem = _read_bytes(source), None
        if blob is not None:
            try:
                audio = decode(blob, self._rate_hz, IN_MEMORY_LIMITS).waveform
            except AudioError as error:
                if error.code not in _TOO_MUCH:
                    problem = error
            else:
                yield audio
                return
        if problem is not None and not damaged:
            raise problem
        with self._as_file(source, blob) as path:
            yield self._blocks(source, path, problem)

    def _blocks(self, source: Input, path: Path, problem: AudioError | None = None) -> Blocks:
        """The blocks of a file, then ``problem``, in which decoding the whole file has ended."""

        def blocks() -> Iterator[Waveform]:
            for block in read_blocks(path, self._rate_hz):
                self._on_read(source, len(block) / self._rate_hz)
                yield block
            if problem is not None:
                raise problem

        return blocks

    @contextlib.contextmanager
    def _as_file(self, source: Input, blob: bytes | None) -> Iterator[Path]:
        """The recording as a local file; ``blob`` has its bytes if they are few."""
        if source.location != STANDARD_INPUT and not is_remote(source.location):
            yield Path(source.location)
        elif blob is not None:
            import tempfile

            with tempfile.NamedTemporaryFile(prefix="earful-") as copy:
                copy.write(blob)
                copy.flush()
                yield Path(copy.name)
        elif source.location == STANDARD_INPUT:
            raise AudioError(
                "too_large",
                "audio on standard input may have 8 MB; save it to a file and give its name",
            )
        else:
            with fetch_to_file(source.location, lambda: self._on_read(source, 0.0)) as local:
                yield local

    def _segment(self, source: Input, start: float, end: float) -> Waveform | Blocks:
        """A segment of a file. A short file is decoded once for consecutive segments."""
        whole, tolerance = self._whole_file(source), source.end_tolerance_seconds
        if whole is not None:
            return extract_segment(whole, start, end, tolerance)
        file_blocks = self._blocks(source, Path(source.location))
        if end - start <= IN_MEMORY_LIMITS.max_seconds:
            return read_segment(file_blocks, self._rate_hz, start, end, tolerance)
        return lambda: segment_blocks(file_blocks(), self._rate_hz, start, end, tolerance)

    def _whole_file(self, source: Input) -> Decoded | None:
        """The decoded file, or None when it is too long for memory."""
        if self._last_file is None or self._last_file[0] != source.location:
            self._last_file = (source.location, self._decode_whole(source))
        decoded = self._last_file[1]
        if isinstance(decoded, AudioError):
            raise decoded
        return decoded

    def _decode_whole(self, source: Input) -> Decoded | AudioError | None:
        limits = FILE_LIMITS if is_remote(source.location) else IN_MEMORY_LIMITS
        try:
            blob = _read_bytes(source, limits)
            return None if blob is None else decode(blob, self._rate_hz, limits)
        except AudioError as error:
            return None if error.code in _TOO_MUCH and limits is IN_MEMORY_LIMITS else error


def _read_bytes(source: Input, limits: AudioLimits = IN_MEMORY_LIMITS) -> bytes | None:
    """The bytes of an input, or None when there are more than ``limits`` allow."""
    if source.location == STANDARD_INPUT:
        blob = sys.stdin.buffer.read(limits.max_bytes + 1)
        return blob if len(blob) <= limits.max_bytes else None
    if is_remote(source.location):
        return fetch_bytes(source.location, limits.max_bytes)
    try:
        return read_file(source.location, limits)
    except AudioError as error:
        if error.code == "too_large":
            return None
        raise
