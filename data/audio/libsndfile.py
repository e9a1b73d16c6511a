"""Opens what libsndfile reads, and translates its errors."""

import contextlib
import io
from collections.abc import Iterator
from typing import BinaryIO

import soundfile

from earful.data.audio.containers import (
    ACCEPTED_FORMATS,
    describe_other,
    detect_container,
    is_native,
)
from earful.data.audio.id3 import has_too_many_tags
from earful.data.audio.limits import AudioError, AudioLimits, Waveform, check_header
from earful.data.audio.sphere import sphere_compression
from earful.data.audio.wav import average_channels

# Of a damaged file a block without its damaged end is lost: they are short.
_BLOCK_SAMPLES = 1 << 16


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
    _check_accepted(head)
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
        raise AudioError(
            "unsupported_format",
            f"{detect_container(head)} that does not decode: {reason}; convert it to 16-bit WAV",
        ) from error


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


def _check_accepted(head: bytes) -> None:
    if not head:
        raise AudioError("empty_audio", "the file is empty (0 bytes)")
    if has_too_many_tags(head):
        raise AudioError("unsupported_format", "a long row of ID3 tags; remove them")
    name = describe_other(head)
    if name or not is_native(head):
        raise AudioError(
            "unsupported_format", f"{name or 'not audio'}; accepted are {ACCEPTED_FORMATS}"
        )
    if compression := sphere_compression(head):
        raise AudioError(
            "unsupported_format",
            f"NIST SPHERE compressed with {compression}; decompress it: w_decode -o pcm (of NIST's "
            "SPHERE tools), or sph2pipe -p",
        )
