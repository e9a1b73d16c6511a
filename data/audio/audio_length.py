"""The duration and sample rate of a file, by its header where that says it."""

import os
from pathlib import Path

from earful.data.audio.containers import HEAD_BYTES
from earful.data.audio.decode import check_wav
from earful.data.audio.encoded import open_encoded
from earful.data.audio.limits import FILE_LIMITS, AudioError, check_complete
from earful.data.audio.wav import parse_wav

# Enough for the header of a WAV, which is parsed here: opening it takes ten times as long.
_WAV_HEAD_BYTES = 1 << 12


def read_duration_and_rate(path: Path) -> tuple[float, int]:
    """(seconds, sample rate in Hz).

    Recordings of browsers and raw AAC and AMR do not say their length: they are decoded for it.

    Raises:
        AudioError: the file cannot be used.
    """
    try:
        with path.open("rb", buffering=0) as file:
            head, n_bytes = file.read(_WAV_HEAD_BYTES), os.fstat(file.fileno()).st_size
            wav = parse_wav(head, n_bytes)
            if wav is not None:
                check_wav(wav, FILE_LIMITS)
                return _require_frames(wav.frames) / wav.sample_rate_hz, wav.sample_rate_hz
            head = head[:HEAD_BYTES]
            file.seek(0)
            with open_encoded(file, head, n_bytes, FILE_LIMITS) as encoded:
                check_complete(head, n_bytes)
                frames = encoded.frames
                if frames is None:
                    frames = sum(map(len, encoded.blocks))
                rate_hz = encoded.sample_rate_hz
    except OSError as error:
        raise AudioError("unreadable", f"cannot be read: {error.strerror}") from error
    return _require_frames(frames) / rate_hz, rate_hz


def _require_frames(frames: int) -> int:
    if not frames:
        raise AudioError("empty_audio", "the file has a header and no samples")
    return frames
