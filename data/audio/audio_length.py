"""The duration and sample rate in a file's header, without decoding."""

import os
from pathlib import Path

from earful.data.audio.decode import FILE_LIMITS, AudioError, check_complete, open_libsndfile

_HEAD_BYTES = 32
_UNKNOWN_FRAMES = 1 << 62


def read_duration_and_rate(path: Path) -> tuple[float, int]:
    """(seconds, sample rate in Hz).

    Raises:
        AudioError: the file cannot be used, or its header has no length.
    """
    try:
        with path.open("rb") as file:
            head, n_bytes = file.read(_HEAD_BYTES), os.fstat(file.fileno()).st_size
    except OSError as error:
        raise AudioError("unreadable", f"cannot be read: {error.strerror}") from error
    with open_libsndfile(os.fsencode(path), head, FILE_LIMITS) as sound:
        check_complete(head, n_bytes)
        frames, rate_hz = int(sound.frames), int(sound.samplerate)
    if not 0 < frames < _UNKNOWN_FRAMES:
        raise AudioError("empty_audio", "its header has no length; save it again")
    return frames / rate_hz, rate_hz
