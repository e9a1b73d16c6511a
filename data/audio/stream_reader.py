"""Read a recording of any length block by block, in constant memory.

The concatenated blocks equal what ``data.audio.decode.decode`` returns for the whole file. Of a
truncated or damaged file come the blocks that can be read, then the error.
"""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from earful.data.audio.containers import HEAD_BYTES
from earful.data.audio.decode import END_TOLERANCE_SECONDS, check_wav_complete
from earful.data.audio.limits import (
    AudioError,
    AudioLimits,
    Encoded,
    Waveform,
    check_complete,
    check_header,
    check_samples,
)
from earful.data.audio.wav import PlainWav, parse_wav, read_mono
from earful.data.audio.windows import (
    block_loudness,
    loudest_start_of_blocks,
    loudness_block,
    loudness_weights,
)

# Local files that are streamed may be of any length and size.
NO_LIMITS = AudioLimits(max_bytes=1 << 62, max_seconds=float("inf"))
_BLOCK_BYTES = 1 << 17
# A WAV whose header is longer than this is read by libsndfile.
_HEAD_BYTES = 1 << 20


def read_blocks(
    source: Path | BinaryIO, sample_rate_hz: int, limits: AudioLimits = NO_LIMITS
) -> Iterator[Waveform]:
    """Non-empty blocks (samples,) float32 of a file, mono at ``sample_rate_hz``.

    An open file is read from its start, and stays open.

    Raises:
        AudioError: with a code of ``data.audio.decode``; for damaged files after some blocks.
    """
    with _opened(source) as file:
        yield from _resample_stream(file, sample_rate_hz, limits)


def header_seconds(source: Path | BinaryIO, limits: AudioLimits = NO_LIMITS) -> float | None:
    """The length of a file by its header, in seconds; None if the header does not have it.

    Raises:
        AudioError: the header is unusable, or beyond the limits.
    """
    with _opened(source) as file, _open_audio(file, limits) as audio:
        return None if audio.frames is None else audio.frames / audio.sample_rate_hz


@contextlib.contextmanager
def _opened(source: Path | BinaryIO) -> Iterator[BinaryIO]:
    if isinstance(source, Path) and "\0" in str(source):
        raise AudioError("not_found", "not a valid file name; check for a NUL character")
    try:
        if isinstance(source, Path):
            with source.open("rb") as file:
                yield file
        else:
            source.seek(0)
            yield source
    except FileNotFoundError as error:
        raise AudioError("not_found", "no such file; it may have been moved or deleted") from error
    except OSError as error:
        raise AudioError("unreadable", f"cannot be read: {error.strerror}") from error


class ReadableBlocks:
    """Blocks up to an error, which is kept: events before it are complete. Counts samples.

    ``check`` is called before each block; what it raises ends the pass.
    """

    def __init__(
        self, blocks: Iterable[Waveform], check: Callable[[], object] = lambda: None
    ) -> None:
        self._blocks, self._check = blocks, check
        self.n_samples = 0
        self.error: AudioError | None = None

    def __iter__(self) -> Iterator[Waveform]:
        try:
            for block in self._blocks:
                self._check()
                self.n_samples += len(block)
                yield block
        except AudioError as error:
            self.error = error

    def first(self, max_samples: float) -> list[Waveform]:
        """The first blocks: all, or until they have more than ``max_samples``."""
        blocks = []
        for block in self:
            blocks.append(block)
            if self.n_samples > max_samples:
                break
        return blocks


def stream_windows(
    blocks: Iterable[Waveform], clip_samples: int, hop_samples: int
) -> Iterator[tuple[int, Waveform]]:
    """(first sample, samples) of each window of ``data.audio.windows.window_starts``."""
    pending, first, start = np.zeros(0, np.float32), 0, 0
    for block in blocks:
        pending = np.concatenate([pending, block])
        while start + clip_samples < first + len(pending):
            yield start, pending[start - first : start - first + clip_samples].copy()
            start += hop_samples
        # Keep the last clip length: the last window may start anywhere in it.
        surplus = max(0, min(start - first, len(pending) - clip_samples))
        pending, first = pending[surplus:], first + surplus
    start = max(0, first + len(pending) - clip_samples)
    yield start, pending[start - first :].copy()


def loudest_window(
    blocks: Callable[[], Iterator[Waveform]], clip_samples: int
) -> tuple[int, Waveform, int]:
    """(first sample, samples, total samples) of the window that ``loudest_start`` selects.

    ``blocks`` starts a pass over the file: one to find the window, seldom another to read it.

    Raises:
        AudioError: with a code of ``data.audio.decode``.
    """
    loudest = LoudestWindow(clip_samples)
    for block in blocks():
        loudest.feed(block)
    return *loudest.finish(blocks), loudest.n_samples


class LoudestWindow:
    """Finds the window of ``loudest_window`` in a pass over a recording that has other uses too."""

    def __init__(self, clip_samples: int) -> None:
        self._clip_samples, self._block = clip_samples, loudness_block(clip_samples)
        self._n_weights = clip_samples // self._block
        self._loudness: list[NDArray[np.float64]] = []
        self._rest = self._recent = np.zeros(0, np.float32)
        self._recent_loudness = np.zeros(0, np.float64)
        self._previous: float | None = None
        self._n_samples = 0  # measured, without the rest
        self._best_loudness, self._best_start = -1.0, 0
        self._best_clip = self._rest

    def feed(self, samples: Waveform) -> None:
        """Measure the next samples (samples,)."""
        joined = np.concatenate([self._rest, samples])
        whole = len(joined) // self._block * self._block
        self._rest = joined[whole:].copy()
        if whole:
            self._measure(joined[:whole])

    @property
    def n_samples(self) -> int:
        return self._n_samples + len(self._rest)

    def finish(self, blocks: Callable[[], Iterator[Waveform]]) -> tuple[int, Waveform]:
        """(first sample, samples) of the window.

        It is read in another pass if windows are equally loud, of which the middle one counts, and
        at the very end.
        """
        size, n_samples = self._clip_samples, self.n_samples
        if n_samples <= size:
            return 0, _collect_samples(blocks(), 0, size)
        if len(self._rest):
            self._measure(self._rest)
            self._rest = self._rest[:0]
        start = loudest_start_of_blocks(np.concatenate(self._loudness), n_samples, size)
        if start == self._best_start and len(self._best_clip) == size:
            return start, self._best_clip
        return start, _collect_samples(blocks(), start, size)

    def _measure(self, blocks: Waveform) -> None:
        """Measure whole blocks, and keep the samples of the loudest window so far."""
        previous = float(blocks[0]) if self._previous is None else self._previous
        loudness = block_loudness(blocks, previous, self._block)
        self._previous = float(blocks[-1])
        self._loudness.append(loudness)
        self._n_samples += len(blocks)
        recent = np.concatenate([self._recent, blocks])
        recent_loudness = np.concatenate([self._recent_loudness, loudness])
        if len(recent_loudness) >= self._n_weights:
            weighted = np.convolve(
                recent_loudness, loudness_weights(self._clip_samples), mode="valid"
            )
            best = int(weighted.argmax())
            if weighted[best] > self._best_loudness:
                start = best * self._block
                self._best_loudness = float(weighted[best])
                self._best_start = self._n_samples - len(recent) + start
                self._best_clip = recent[start : start + self._clip_samples].copy()
        # The next windows start in the last clip.
        kept_blocks = self._n_weights - 1
        self._recent_loudness = recent_loudness[max(0, len(recent_loudness) - kept_blocks) :]
        self._recent = recent[max(0, len(recent) - kept_blocks * self._block) :].copy()


def read_segment(
    blocks: Callable[[], Iterator[Waveform]],
    sample_rate_hz: int,
    start_seconds: float,
    end_seconds: float,
    end_tolerance_seconds: float = END_TOLERANCE_SECONDS,
) -> Waveform:
    """``data.audio.decode.extract_segment`` (samples,) of a stream, read only up to its end.

    Raises:
        AudioError: ``bad_segment`` if it is outside the audio, and what reading raises.
    """
    times = (start_seconds, end_seconds, end_tolerance_seconds)
    parts = segment_blocks(blocks(), sample_rate_hz, *times)
    return np.concatenate(list(parts))


def segment_blocks(
    blocks: Iterable[Waveform],
    sample_rate_hz: int,
    start_seconds: float,
    end_seconds: float,
    end_tolerance_seconds: float = END_TOLERANCE_SECONDS,
) -> Iterator[Waveform]:
    """``read_segment`` in non-empty blocks (samples,), for segments of any length.

    Raises:
        AudioError: ``bad_segment``, after some blocks, and what reading raises.
    """
    first, last = (round(t * sample_rate_hz) for t in (start_seconds, end_seconds))
    n_read = 0
    for part in _slice_blocks(blocks, first, last - first):
        n_read += len(part)
        yield part
    if n_read == 0 or n_read < last - first - round(end_tolerance_seconds * sample_rate_hz):
        raise AudioError(
            "bad_segment",
            f"{start_seconds:g} to {end_seconds:g} s is not entirely inside the audio",
        )


def _collect_samples(blocks: Iterable[Waveform], start: int, samples: int) -> Waveform:
    return np.concatenate([*_slice_blocks(blocks, start, samples), np.zeros(0, np.float32)])


def _slice_blocks(blocks: Iterable[Waveform], start: int, samples: int) -> Iterator[Waveform]:
    position = 0
    for block in blocks:
        part = block[max(0, start - position) : max(0, start + samples - position)]
        if len(part):  # an empty view would keep its block in memory
            yield part
        position += len(block)
        if position >= start + samples:
            break


def _resample_stream(
    file: BinaryIO, sample_rate_hz: int, limits: AudioLimits
) -> Iterator[Waveform]:
    with _open_audio(file, limits) as audio:
        checked, rate_hz = _check_blocks(audio.blocks), audio.sample_rate_hz
        if rate_hz == sample_rate_hz:
            yield from checked
            return
        import soxr  # slow to import, as in data.audio.decode

        stream = soxr.ResampleStream(rate_hz, sample_rate_hz, 1, dtype="float32", quality="HQ")
        first: Waveform | None = None
        emitted = False
        for block in checked:
            first = block[:1].copy() if first is None else first
            if len(resampled := stream.resample_chunk(block)):
                emitted = True
                yield resampled
        if len(resampled := stream.resample_chunk(np.zeros(0, np.float32), last=True)):
            yield resampled
        elif not emitted and first is not None:  # as in data.audio.decode.resample
            yield first


def _check_blocks(blocks: Iterator[Waveform]) -> Iterator[Waveform]:
    empty = True
    for block in blocks:
        check_samples(block)
        empty = False
        yield block
    if empty:
        raise AudioError("empty_audio", "the file has a header and no samples")


@contextlib.contextmanager
def _open_audio(file: BinaryIO, limits: AudioLimits) -> Iterator[Encoded]:
    """Any audio, plain WAV too; blocks of a file that was cut off end with the error."""
    n_bytes = file.seek(0, os.SEEK_END)
    file.seek(0)
    head = file.read(_HEAD_BYTES)
    wav = parse_wav(head, n_bytes)
    if wav is not None:
        check_header(wav.sample_rate_hz, wav.channels, wav.frames, limits)
        yield Encoded(wav.sample_rate_hz, wav.frames, _wav_blocks(file, wav))
        return
    from earful.data.audio.encoded import open_encoded  # as in data.audio.decode

    with open_encoded(file, head, n_bytes, limits) as encoded:
        yield replace(encoded, blocks=_encoded_blocks(encoded, head[:HEAD_BYTES], n_bytes))


def _encoded_blocks(encoded: Encoded, head: bytes, n_bytes: int) -> Iterator[Waveform]:
    yield from encoded.blocks
    check_complete(head, n_bytes)


def _wav_blocks(file: BinaryIO, wav: PlainWav) -> Iterator[Waveform]:
    frame_bytes = wav.channels * wav.bits // 8
    remaining = wav.frames * frame_bytes
    file.seek(wav.start)
    while remaining:
        chunk = file.read(min(remaining, _BLOCK_BYTES // frame_bytes * frame_bytes))
        if not chunk or len(chunk) % frame_bytes:
            raise AudioError("truncated", "the file was truncated while it was read")
        remaining -= len(chunk)
        yield read_mono(replace(wav, data=memoryview(chunk)))
    check_wav_complete(wav)
