"""The duration and sample rate of a file, by its header where that says it."""

import os
from pathlib import Path

from earful.data.audio.containers import HEAD_BYTES
from earful.data.audio.encoded import open_encoded
from earful.data.audio.limits import FILE_LIMITS, AudioError, check_complete


def read_duration_and_rate(path: Path) -> tuple[float, int]:
    """(seconds, sample rate in Hz).

    Recordings of browsers and raw AAC and AMR do not say their length: they are decoded for it.

    Raises:
        AudioError: the file cannot be used.
    """
    try:
        with path.open("rb") as file:
            head, n_bytes = file.read(HEAD_BYTES), os.fstat(file.fileno()).st_size
            with open_encoded(file, head, n_bytes, FILE_LIMITS) as encoded:
                check_complete(head, n_bytes)
                frames = encoded.frames
                if frames is None:
                    frames = sum(map(len, encoded.blocks))
                rate_hz = encoded.sample_rate_hz
    except OSError as error:
        raise AudioError("unreadable", f"cannot be read: {error.strerror}") from error
    if not frames:
        raise AudioError("empty_audio", "the file has a header and no samples")
    return frames / rate_hz, rate_hz
