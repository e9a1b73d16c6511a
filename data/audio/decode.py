"""Decode an audio file or upload to a mono waveform at a given rate; all audio is read here.

Unusable audio raises an ``AudioError`` with a stable code:

    not_found            no such file, or not a regular file
    unreadable           the operating system cannot read the file
    unreachable          a remote server does not answer, or answers with an error
    unsupported_format   not an accepted audio container, or it does not decode
    empty_audio          no samples
    truncated            the file is shorter than its header declares
    too_large            more bytes than the limit
    too_long             more seconds than the limit
    bad_sample_rate      a sample rate outside the limits
    too_many_channels    more channels than the limit
    not_finite           NaN or infinite samples
    out_of_range         float samples far beyond full scale
    bad_segment          a start or end outside the file

Input is not trusted: the container is detected by content, and limits are checked on the header
before decoding and again while decoding.
"""

import contextlib
import errno
import io
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from earful.data.audio.containers import (
    ACCEPTED_FORMATS,
    declared_bytes,
    is_accepted,
    strip_id3_tag,
)
from earful.data.audio.wav import PlainWav, average_channels, parse_wav, read_mono
from earful.data.errors import EarfulError

Waveform = NDArray[np.float32]

# Float audio may slightly exceed full scale (1.0); a hundred times more means other units.
MAX_SAMPLE_MAGNITUDE = 100.0
# Of a damaged file a block without its damaged end is lost: they are short.
_BLOCK_SAMPLES = 1 << 16
# How far the end of a segment may lie behind that of its file: the rounding of labelling tools.
END_TOLERANCE_SECONDS = 0.01
# libsndfile reports 2**63 - 1 for an unknown length.
UNKNOWN_FRAMES = 1 << 62
_NOT_REGULAR = "not a regular file; give an audio file"


class AudioError(EarfulError):
    """Unusable audio; ``code`` is stable, the message is for the user."""

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True)
class AudioLimits:
    """Limits on accepted audio; the defaults suit local files, a service sets tighter ones."""

    max_bytes: int = 1 << 30
    max_seconds: float = 3600.0
    min_sample_rate_hz: int = 4_000
    max_sample_rate_hz: int = 192_000
    max_channels: int = 8


FILE_LIMITS = AudioLimits()


@dataclass(frozen=True)
class Decoded:
    """A mono waveform (samples,) float32 at ``sample_rate_hz``, and the file's own rate."""

    waveform: Waveform
    sample_rate_hz: int
    source_rate_hz: int

    @property
    def seconds(self) -> float:
        return len(self.waveform) / self.sample_rate_hz


def read_file(path: Path | str, limits: AudioLimits = FILE_LIMITS) -> bytes:
    """The bytes of a regular file within the size limit.

    Raises:
        AudioError: ``not_found``, ``unreadable`` or ``too_large``.
    """
    try:
        # System calls, as a buffered file makes twice as many, which counts for 100,000 files.
        # O_NONBLOCK: opening a named pipe does not wait for its writer.
        file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return _read_regular(file, limits)
        finally:
            os.close(file)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AudioError(
            "not_found", "no such file; check the name and the audio folder"
        ) from error
    except ValueError as error:  # a NUL in the name
        raise AudioError("not_found", "not a valid file name; check for a NUL character") from error
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise AudioError("not_found", _NOT_REGULAR) from error
        raise AudioError("unreadable", f"cannot be read: {error.strerror}") from error


def _read_regular(file: int, limits: AudioLimits) -> bytes:
    status = os.fstat(file)
    if not stat.S_ISREG(status.st_mode):
        raise AudioError("not_found", _NOT_REGULAR)
    check_bytes(status.st_size, limits)
    blob = os.read(file, status.st_size)
    if len(blob) == status.st_size:
        return blob
    # One call reads at most 2 GB, and less if the file was truncated meanwhile.
    parts = [blob]
    while len(blob) and sum(map(len, parts)) < status.st_size:
        parts.append(blob := os.read(file, status.st_size))
    return b"".join(parts)


def decode(blob: bytes, sample_rate_hz: int | None, limits: AudioLimits = FILE_LIMITS) -> Decoded:
    """Decode one file's bytes to mono at ``sample_rate_hz``; None keeps the file's own rate.

    Channels are averaged; resampling is soxr HQ.

    Raises:
        AudioError: with one of the codes of this module.
    """
    check_bytes(len(blob), limits)
    if not blob:
        raise AudioError("empty_audio", "the file is empty (0 bytes)")
    samples, rate = _decode_native(strip_id3_tag(blob), limits)
    rate_out = rate if sample_rate_hz is None else sample_rate_hz
    return Decoded(resample(samples, rate, rate_out), rate_out, rate)


def extract_segment(
    decoded: Decoded,
    start_seconds: float | None,
    end_seconds: float | None,
    end_tolerance_seconds: float = END_TOLERANCE_SECONDS,
) -> Waveform:
    """The samples (samples,) between two times; all of them if either is None.

    An end at most ``end_tolerance_seconds`` behind that of the audio is that of the audio.

    Raises:
        AudioError: ``bad_segment`` if the segment is outside the audio.
    """
    if start_seconds is None or end_seconds is None:
        return decoded.waveform
    if end_seconds > decoded.seconds + end_tolerance_seconds:
        raise AudioError(
            "bad_segment", f"ends at {end_seconds:g} s, the audio at {decoded.seconds:.3f} s"
        )
    first, last = (round(t * decoded.sample_rate_hz) for t in (start_seconds, end_seconds))
    segment = decoded.waveform[first:last]
    if len(segment) == 0:
        raise AudioError(
            "bad_segment", f"{start_seconds:g} to {end_seconds:g} s contains no samples"
        )
    return segment


def resample(waveform: Waveform, from_hz: int, to_hz: int) -> Waveform:
    """Resample (samples,) float32; at the same rate the array itself is returned."""
    if from_hz == to_hz:
        return waveform
    import soxr  # takes 20 ms to import, not needed when rates agree

    resampled: Waveform = soxr.resample(waveform, from_hz, to_hz, quality="HQ")
    # A few samples may resample to none; the audio is not empty, so keep one.
    return resampled if len(resampled) else waveform[:1].copy()


def _decode_native(blob: bytes, limits: AudioLimits) -> tuple[Waveform, int]:
    """Mono samples (samples,) and the file's own rate."""
    wav = parse_wav(blob)
    if wav is None:
        samples, rate = _decode_with_libsndfile(blob, limits)
    else:
        check_wav(wav, limits)
        samples, rate = read_mono(wav), wav.sample_rate_hz
    if len(samples) == 0:
        raise AudioError("empty_audio", "the file has a header and no samples")
    if wav is None or not wav.integer:
        check_samples(samples)
    return samples, rate


def _decode_with_libsndfile(blob: bytes, limits: AudioLimits) -> tuple[Waveform, int]:
    with open_libsndfile(SeekableBytes(blob), blob[:32], limits) as file:
        check_complete(blob[:32], len(blob))
        blocks = list(mono_blocks(file, limits))
        return np.concatenate([*blocks, np.zeros(0, np.float32)]), file.samplerate


@contextlib.contextmanager
def open_libsndfile(
    source: BinaryIO | bytes | int, head: bytes, limits: AudioLimits
) -> Iterator[soundfile.SoundFile]:
    """Open audio that starts with ``head``: a binary file, an encoded path, or a descriptor.

    A descriptor is read from its position on, and stays open.

    Errors of libsndfile inside the block are translated too.

    Raises:
        AudioError: with one of the codes of this module.
    """
    if not is_accepted(head):
        raise AudioError("unsupported_format", f"not audio; accepted are {ACCEPTED_FORMATS}")
    try:
        with soundfile.SoundFile(source, closefd=not isinstance(source, int)) as file:
            check_header(file.samplerate, file.channels, file.frames, limits)
            yield file
    # The soundfile binding raises some codec errors as plain Python errors.
    except (soundfile.SoundFileError, ValueError, TypeError, RuntimeError, OverflowError) as error:
        reason = str(error).removeprefix("Error opening ").split(": ", 1)[-1].rstrip(".")
        # The messages for FLAC that is truncated or damaged after its header: of libFLAC, and of
        # libsndfile where a block had some samples before the damage.
        if "lost sync" in reason or "psf_fseek" in reason:
            raise AudioError(
                "truncated", "truncated or damaged: the samples end too early"
            ) from error
        raise AudioError("unsupported_format", f"does not decode: {reason}") from error


class SeekableBytes(io.BytesIO):
    """Ignores seeks before the start, which broken headers cause.

    The soundfile binding would print an exception raised here with a traceback, then ignore it.
    """

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except (ValueError, OverflowError):
            return self.tell()


def mono_blocks(file: soundfile.SoundFile, limits: AudioLimits) -> Iterator[Waveform]:
    """Blocks (frames,) of channel means; ``too_long`` if the file exceeds what its header says."""
    frames_left = limits.max_seconds * file.samplerate
    block_frames = max(1, _BLOCK_SAMPLES // file.channels)
    while len(block := file.read(block_frames, dtype="float32", always_2d=True)):
        frames_left -= len(block)
        if frames_left < 0:
            raise AudioError("too_long", f"longer than {limits.max_seconds:g} s")
        yield average_channels(block)


def check_complete(head: bytes, n_bytes: int) -> None:
    """Raise ``truncated`` if the header ``head`` of a file of ``n_bytes`` declares more of them."""
    if declared_bytes(head) > n_bytes:
        raise AudioError(
            "truncated",
            f"the header declares {declared_bytes(head)} bytes, the file has {n_bytes}",
        )


def check_bytes(n_bytes: int, limits: AudioLimits) -> None:
    if n_bytes > limits.max_bytes:
        raise AudioError("too_large", f"{n_bytes} bytes; at most {limits.max_bytes} are accepted")


def check_wav(wav: PlainWav, limits: AudioLimits) -> None:
    """Raise ``AudioError`` for a WAV whose header exceeds the limits, or that is truncated."""
    check_header(wav.sample_rate_hz, wav.channels, wav.frames, limits)
    check_wav_complete(wav)


def check_wav_complete(wav: PlainWav) -> None:
    """Raise ``truncated`` if the header declares more samples than the file holds."""
    if wav.truncated:
        raise AudioError(
            "truncated",
            f"the header declares {wav.declared_bytes} bytes of audio, the file has {wav.n_bytes}",
        )


def check_header(rate_hz: int, channels: int, frames: int, limits: AudioLimits) -> None:
    if not limits.min_sample_rate_hz <= rate_hz <= limits.max_sample_rate_hz:
        raise AudioError(
            "bad_sample_rate",
            f"the sample rate is {rate_hz} Hz; accepted are "
            f"{limits.min_sample_rate_hz} to {limits.max_sample_rate_hz} Hz",
        )
    if channels > limits.max_channels:
        raise AudioError(
            "too_many_channels", f"{channels} channels; at most {limits.max_channels} are accepted"
        )
    # Without a known length, the decoded blocks are counted.
    if frames < UNKNOWN_FRAMES and frames > limits.max_seconds * rate_hz:
        raise AudioError(
            "too_long", f"{frames / rate_hz:.1f} s; at most {limits.max_seconds:g} s are accepted"
        )


def check_samples(samples: Waveform) -> None:
    """Raise ``AudioError`` for samples (samples,), at least one, that are not finite audio."""
    peak = float(max(samples.max(), -samples.min()))  # NaN stays NaN, infinity infinite
    if not np.isfinite(peak):
        raise AudioError("not_finite", "contains NaN or infinite samples; write the file again")
    if peak > MAX_SAMPLE_MAGNITUDE:
        raise AudioError(
            "out_of_range",
            f"samples reach {peak:.3g}, full scale is 1.0; scale them to -1 .. 1",
        )
