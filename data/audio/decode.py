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

import errno
import os
import stat
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earful.data.audio.containers import HEAD_BYTES, strip_id3_tag
from earful.data.audio.limits import (
    FILE_LIMITS,
    MAX_SAMPLE_MAGNITUDE,
    AudioError,
    AudioLimits,
    Waveform,
    check_bytes,
    check_complete,
    check_header,
    check_samples,
)
from earful.data.audio.wav import PlainWav, parse_wav, read_mono
from earful.data.system.files import READ_BYTES

__all__ = [
    "END_TOLERANCE_SECONDS",
    "FILE_LIMITS",
    "MAX_SAMPLE_MAGNITUDE",
    "AudioError",
    "AudioLimits",
    "Decoded",
    "Waveform",
    "check_wav",
    "check_wav_complete",
    "decode",
    "extract_segment",
    "read_file",
    "resample",
]
# How far the end of a segment may lie behind that of its file: the rounding of labelling tools.
END_TOLERANCE_SECONDS = 0.01
_NOT_REGULAR = "not a regular file; give an audio file"


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
        file = os.open(path, READ_BYTES)
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
        samples, rate = _decode_encoded(blob, limits)
    else:
        check_wav(wav, limits)
        samples, rate = read_mono(wav), wav.sample_rate_hz
    if len(samples) == 0:
        raise AudioError("empty_audio", "the file has a header and no samples")
    if wav is None or not wav.integer:
        check_samples(samples)
    return samples, rate


def _decode_encoded(blob: bytes, limits: AudioLimits) -> tuple[Waveform, int]:
    from earful.data.audio.encoded import open_encoded  # plain WAV takes no library of formats
    from earful.data.audio.libsndfile import SeekableBytes

    head = blob[:HEAD_BYTES]
    with open_encoded(SeekableBytes(blob), head, len(blob), limits) as encoded:
        check_complete(head, len(blob))
        return np.concatenate([*encoded.blocks, np.zeros(0, np.float32)]), encoded.sample_rate_hz


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
