"""Decodes M4A, MP4, MOV, WebM, Matroska, 3GP, AMR, AAC and WMA with PyAV (FFmpeg in its wheel).

Files are hostile until read: FFmpeg gets the demuxer that the content names, the decoders of a
list, bytes of this file alone and no protocol by which it would open another. Of a video only the
sound is decoded.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import chain
from typing import TYPE_CHECKING, BinaryIO, NoReturn

import numpy as np

from earful.data.audio.limits import (
    UNKNOWN_FRAMES,
    AudioError,
    AudioLimits,
    Waveform,
    check_channels,
    check_header,
)
from earful.data.audio.media_boxes import check_media_complete
from earful.data.audio.media_formats import MediaFormat
from earful.data.audio.wav import average_channels

if TYPE_CHECKING:
    from av import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer

_CODECS = frozenset(
    {
        *("aac", "aac_latm", "alac", "mp3", "mp3float", "mp2", "mp2float", "opus", "vorbis"),
        *("flac", "ac3", "eac3", "amrnb", "amrwb", "libopencore_amrnb", "libopencore_amrwb"),
        *("wmav1", "wmav2", "wmapro", "wmalossless", "wmavoice", "adpcm_ima_qt", "qcelp", "evrc"),
        *("pcm_u8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_s32be"),
        *("pcm_f32le", "pcm_f32be", "pcm_f64le", "pcm_f64be", "pcm_mulaw", "pcm_alaw", "pcm_s8"),
    }
)
_Errors = tuple[type[Exception], ...]
# Frames of a codec are short: they are joined.
_BLOCK_SAMPLES = 1 << 16
# An encoder pads its last frame; more samples beyond the header's length are sound.
_MAX_PADDING = 4096
# By FFmpeg's name of the format: the type of a sample, its zero, and the scale to 1.0.
_SAMPLES = {
    "u8": (np.uint8, 128.0, 2.0**-7),
    "s16": (np.int16, 0.0, 2.0**-15),
    "s32": (np.int32, 0.0, 2.0**-31),
    "flt": (np.float32, 0.0, 1.0),
    "dbl": (np.float64, 0.0, 1.0),
}


@dataclass
class MediaSound:
    """The sound of an open file: its rate, and its samples by the header (None: unknown).

    Of an MP4 the header says exactly where the sound ends, within the last frame.
    """

    sample_rate_hz: int
    frames: int | None
    _decoded: Iterator["AudioFrame"]
    _limits: AudioLimits
    _errors: _Errors
    _is_exact: bool
    _n_samples: int = 0
    _padding: list[Waveform] = field(default_factory=list)

    def blocks(self) -> Iterator[Waveform]:
        """Mono blocks (samples,); of a damaged file those before the damage, then the error.

        Raises:
            AudioError: ``truncated``, or beyond the limits.
        """
        pending: list[Waveform] = []
        n_pending = 0  # frames may have a single sample: they are not counted again
        try:
            for frame in self._decoded:
                kept = self._without_padding(self._mono(frame))
                pending += kept
                n_pending += sum(map(len, kept))
                if n_pending >= _BLOCK_SAMPLES:
                    yield from _joined(pending)
                    pending, n_pending = [], 0
        except AudioError:
            yield from _joined(pending)
            raise
        except self._errors as error:
            yield from _joined(pending)
            raise AudioError("truncated", "truncated or damaged: it does not decode") from error
        yield from _joined(pending)

    def _mono(self, frame: "AudioFrame") -> Waveform:
        """The samples of a frame, checked against the limits."""
        if frame.sample_rate != self.sample_rate_hz:
            raise AudioError(
                "unsupported_format",
                f"its sample rate changes from {self.sample_rate_hz} to {frame.sample_rate} Hz; "
                "convert it to WAV",
            )
        channels = frame.layout.nb_channels
        check_channels(channels, self._limits)
        self._n_samples += frame.samples
        if self._n_samples > self._limits.max_seconds * self.sample_rate_hz:
            raise AudioError("too_long", f"longer than {self._limits.max_seconds:g} s")
        return average_channels(_to_float(frame, channels))

    def _without_padding(self, samples: Waveform) -> list[Waveform]:
        """The samples up to the end by the header; those beyond it once they are no padding."""
        if not self._is_exact or self.frames is None:
            return [samples]
        beyond = min(len(samples), self._n_samples - self.frames)
        if beyond <= 0:
            return [samples]
        self._padding.append(samples[len(samples) - beyond :])
        kept = [samples[: len(samples) - beyond]] if beyond < len(samples) else []
        if sum(map(len, self._padding)) <= _MAX_PADDING:
            return kept
        self._is_exact = False
        return kept + self._padding


def _joined(blocks: list[Waveform]) -> Iterator[Waveform]:
    if blocks:
        yield np.concatenate(blocks)


@contextlib.contextmanager
def open_media(
    file: BinaryIO, media: MediaFormat, n_bytes: int, limits: AudioLimits
) -> Iterator[MediaSound]:
    """Open the sound of a file of ``n_bytes`` in the format ``media``; the file stays open.

    Raises:
        AudioError: with a code of ``data.audio.decode``; without PyAV, ``unsupported_format``.
    """
    errors = _ffmpeg_errors(media)
    check_media_complete(file, media, n_bytes)
    file.seek(0)
    with contextlib.ExitStack() as stack:
        try:
            container = stack.enter_context(_open_container(file, media))
            sound = _open_sound(container, media, limits, errors)
        except errors as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise AudioError(
                "unsupported_format", f"{media.name} that does not decode: {reason}"
            ) from error
        yield sound


def _open_container(file: BinaryIO, media: MediaFormat) -> "InputContainer":
    import av

    return av.open(
        file,
        "r",
        format=media.demuxer,
        container_options={
            "protocol_whitelist": "none",
            "codec_whitelist": ",".join(sorted(_CODECS)),
            **({"enable_drefs": "0"} if media.demuxer == "mov" else {}),
        },
        metadata_errors="replace",
        io_open=_refuse_to_open,
    )


def _refuse_to_open(*_: object) -> NoReturn:
    raise AudioError("unsupported_format", "refers to another file; give a file that holds all")


def _open_sound(
    container: "InputContainer",
    media: MediaFormat,
    limits: AudioLimits,
    errors: _Errors,
) -> MediaSound:
    if not container.streams.audio:
        what = "a video without sound" if container.streams.video else "it holds no sound"
        raise AudioError("empty_audio", f"{media.name}: {what}")
    stream = container.streams.audio[0]
    codec = getattr(stream, "codec_context", None)
    if codec is None or codec.name not in _CODECS:
        name = "an unknown or protected codec" if codec is None else f"the codec {codec.name}"
        raise AudioError(
            "unsupported_format", f"{media.name} with {name}, which is not read; convert it to WAV"
        )
    check_channels(stream.channels, limits)
    decoded = container.decode(stream)
    first = next(decoded, None)
    if first is None:
        raise AudioError(
            "empty_audio",
            f"{media.name} without samples; if another file holds them, convert it to WAV",
        )
    frames = _header_frames(container, stream, media, first.sample_rate)
    check_header(
        first.sample_rate,
        first.layout.nb_channels,
        UNKNOWN_FRAMES if frames is None else frames,
        limits,
    )
    return MediaSound(
        first.sample_rate, frames, chain([first], decoded), limits, errors, media.demuxer == "mov"
    )


def _header_frames(
    container: "InputContainer", stream: "AudioStream", media: MediaFormat, rate_hz: int
) -> int | None:
    """The samples by the header; None where it says none, or FFmpeg only guesses by the bit rate.

    Of Matroska and WMA it is the length of the file, to a millisecond and some.
    """
    if media.demuxer == "mov":
        duration, time_base = stream.duration, stream.time_base
    else:
        is_in_header = media.demuxer in ("matroska", "asf")
        duration, time_base = container.duration if is_in_header else None, Fraction(1, 1_000_000)
    # A damaged header may say that it is negative.
    if duration is None or duration <= 0 or time_base is None:
        return None
    return round(duration * time_base * rate_hz)


def _to_float(frame: "AudioFrame", channels: int) -> Waveform:
    """The samples of a frame as float32 (samples, channels), full scale 1.0."""
    dtype, zero, scale = _SAMPLES[frame.format.name.removesuffix("p")]
    if frame.format.is_planar:
        # Not PyAV's own array: it takes what follows eight planes for a ninth, and reads there.
        planes = frame.planes[:channels]
        samples = np.stack(
            [np.frombuffer(bytes(plane), dtype, frame.samples) for plane in planes], 1
        )
    else:
        packed = np.frombuffer(bytes(frame.planes[0]), dtype, frame.samples * channels)
        samples = packed.reshape(-1, channels)
    floats: Waveform = samples.astype(np.float32)
    return floats if scale == 1.0 else (floats - np.float32(zero)) * np.float32(scale)


def _ffmpeg_errors(media: MediaFormat) -> _Errors:
    """What PyAV raises for a damaged file.

    Raises:
        AudioError: ``unsupported_format``, PyAV is not installed.
    """
    try:
        from av.error import FFmpegError
    except ImportError as error:
        raise AudioError(
            "unsupported_format",
            f"{media.name}, which PyAV reads; install it: uv sync --inexact --extra media, or "
            "convert the file to WAV",
        ) from error
    return (FFmpegError, ValueError, IndexError, RuntimeError, OverflowError)
