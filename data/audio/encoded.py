"""Opens any audio but plain WAV: with PyAV the formats of phones and browsers, else libsndfile."""

import contextlib
import io
import os
from collections.abc import Iterator
from typing import BinaryIO

from earful.data.audio.flac import has_unknown_length, with_length
from earful.data.audio.libsndfile import mono_blocks, open_libsndfile
from earful.data.audio.limits import UNKNOWN_FRAMES, AudioError, AudioLimits, Encoded
from earful.data.audio.media_formats import MediaFormat, media_format


@contextlib.contextmanager
def open_encoded(
    file: BinaryIO, head: bytes, n_bytes: int, limits: AudioLimits
) -> Iterator[Encoded]:
    """Open a file of ``n_bytes`` that starts with ``head``; it stays open.

    Errors of the libraries inside the block are translated too.

    Raises:
        AudioError: with a code of ``data.audio.decode``.
    """
    media = media_format(head)
    opened = (
        _open_native(file, head, n_bytes, limits)
        if media is None
        else _open_media(file, media, head, n_bytes, limits)
    )
    with opened as encoded:
        yield encoded


@contextlib.contextmanager
def _open_native(
    file: BinaryIO, head: bytes, n_bytes: int, limits: AudioLimits
) -> Iterator[Encoded]:
    source = (
        with_length(file, head, n_bytes) if has_unknown_length(head) else _libsndfile_source(file)
    )
    with open_libsndfile(source, head, limits) as sound:
        frames = int(sound.frames) if sound.frames < UNKNOWN_FRAMES else None
        yield Encoded(int(sound.samplerate), frames, mono_blocks(sound, limits))


@contextlib.contextmanager
def _open_media(
    file: BinaryIO, media: MediaFormat, head: bytes, n_bytes: int, limits: AudioLimits
) -> Iterator[Encoded]:
    # FFmpeg skips the tag before AAC alone, and positions in an M4A count from its start.
    if media.demuxer != "aac" and head[:3] == b"ID3":
        raise AudioError(
            "unsupported_format", f"{media.name} behind an ID3 tag; remove the tag, or convert it"
        )
    # Only these files need it.
    from earful.data.audio.media import open_media

    file.seek(0)
    with open_media(file, media, n_bytes, limits) as sound:
        yield Encoded(sound.sample_rate_hz, sound.frames, sound.blocks())


def _libsndfile_source(file: BinaryIO) -> BinaryIO | int:
    """What libsndfile reads: the descriptor, as calls back into Python would be slow."""
    try:
        descriptor = file.fileno()
    except io.UnsupportedOperation:  # in memory
        file.seek(0)
        return file
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor
