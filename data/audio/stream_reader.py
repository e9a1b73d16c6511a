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
import soundfile

from earful.data.audio.decode import (
    UNKNOWN_FRAMES,
    AudioError,
    AudioLimits,
    Waveform,
    check_complete,
    check_header,
    check_samples,
    check_wav_complete,
    mono_blocks,
    open_libsndfile,
)
from earful.data.audio.wav import PlainWav, parse_wav, read_mono
from earful.data.audio.windows import block_loudness, loudest_start_of_blocks, loudness_block

# Local files that are streamed may be of any length and size.
NO_LIMITS = AudioLimits(max_bytes=1 << 62, max_seconds=float("inf"))
_BLOCK_BYTES = 1 << 20
# A WAV whose header is longer than this is read by libsndfile.
_HEAD_BYTES = 1 << 20


def read_blocks(path: Path, sample_rate_hz: int) -> Iterator[Waveform]:
    """Non-empty blocks (samples,) float32 of a file, mono at ``sample_rate_hz``.

    Raises:
        AudioError: with a code of ``data.audio.decode``; for damaged files after some blocks.
    """
    if "\0" in str(path):
        raise AudioError("not_found", "not a valid file name; check for a NUL character")
    try:
        with path.open("rb") as file:
            yield from _resample_stream(file, path, sample_rate_hz)
    except FileNotFoundError as error:
        raise AudioError("not_found", "no such file; it may have been moved or deleted") from error
    except OSError as error:
        raise AudioError("unreadable", f"cannot be read: {error.strerror}") from error


def declared_seconds(path: Path) -> float | None:
    """Length of a recording by its header, which may be wrong; None if it does not say.

    Raises:
        AudioError: as from ``read_blocks``, before the first block.
    """
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
            wav = parse_wav(head, os.fstat(file.fileno()).st_size)
    except FileNotFoundError as error:
        raise AudioError("not_found", "no such file; it may have been moved or deleted") from error
    except OSError as error:
        raise AudioError("unreadable", f"cannot be read: {error.strerror}") from error
    if not head:
        raise AudioError("empty_audio", "the file is empty (0 bytes)")
    if wav is not None:
        check_header(wav.sample_rate_hz, wav.channels, wav.frames, NO_LIMITS)
        return wav.frames / wav.sample_rate_hz
    with open_libsndfile(os.fsencode(path), head[:32], NO_LIMITS) as decoder:
        is_known = decoder.frames < UNKNOWN_FRAMES
        return decoder.frames / decoder.samplerate if is_known else None


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

    ``blocks`` starts a new pass over the file: one to find the window, one to read it.

    Raises:
        AudioError: with a code of ``data.audio.decode``.
    """
    block = loudness_block(clip_samples)
    loudness, total, previous = [], 0, None
    for chunk in _rechunk(blocks(), block):
        before = float(chunk[0]) if previous is None else previous
        loudness.append(block_loudness(chunk, before, block))
        total, previous = total + len(chunk), float(chunk[-1])
    start = (
        loudest_start_of_blocks(np.concatenate(loudness), total, clip_samples)
        if total > clip_samples
        else 0
    )
    return start, _collect_samples(blocks(), start, clip_samples), total


def read_segment(
    blocks: Callable[[], Iterator[Waveform]],
    sample_rate_hz: int,
    start_seconds: float,
    end_seconds: float,
) -> Waveform:
    """``data.audio.decode.extract_segment`` (samples,) of a stream, read only up to its end.

    Raises:
        AudioError: ``bad_segment`` if it is outside the audio, and what reading raises.
    """
    parts = segment_blocks(blocks(), sample_rate_hz, start_seconds, end_seconds)
    return np.concatenate(list(parts))


def segment_blocks(
    blocks: Iterable[Waveform], sample_rate_hz: int, start_seconds: float, end_seconds: float
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
    if n_read == 0 or n_read < last - first - round(0.01 * sample_rate_hz):
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


def _rechunk(chunks: Iterable[Waveform], block: int) -> Iterator[Waveform]:
    """The same samples in chunks of whole blocks; the last chunk is the remainder."""
    rest = np.zeros(0, np.float32)
    for chunk in chunks:
        joined = np.concatenate([rest, chunk])
        whole = len(joined) // block * block
        if whole:
            yield joined[:whole]
        rest = joined[whole:]
    if len(rest):
        yield rest


def _resample_stream(file: BinaryIO, path: Path, sample_rate_hz: int) -> Iterator[Waveform]:
    with _open_native(file, path) as (blocks, rate_hz):
        checked = _check_blocks(blocks)
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
def _open_native(file: BinaryIO, path: Path) -> Iterator[tuple[Iterator[Waveform], int]]:
    """Mono blocks (samples,) at the file's own rate, and that rate."""
    n_bytes = os.fstat(file.fileno()).st_size
    head = file.read(_HEAD_BYTES)
    if not head:
        raise AudioError("empty_audio", "the file is empty (0 bytes)")
    wav = parse_wav(head, n_bytes)
    if wav is not None:
        check_header(wav.sample_rate_hz, wav.channels, wav.frames, NO_LIMITS)
        yield _wav_blocks(file, wav), wav.sample_rate_hz
        return
    with open_libsndfile(os.fsencode(path), head[:32], NO_LIMITS) as decoder:
        yield _libsndfile_blocks(decoder, head[:32], n_bytes), decoder.samplerate


def _libsndfile_blocks(
    decoder: soundfile.SoundFile, head: bytes, n_bytes: int
) -> Iterator[Waveform]:
    yield from mono_blocks(decoder, NO_LIMITS)
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
