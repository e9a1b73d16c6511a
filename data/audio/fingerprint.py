"""What a recording sounds like as a name: the same for a copy under another name or container."""

import hashlib

import numpy as np

from earful.data.audio.decode import Waveform

_FULL_SCALE = 32768  # as libsndfile scales 16-bit samples


def audio_hash(waveform: Waveform) -> str:
    """sha256 (hexadecimal) of a waveform (samples,) at 16 bits, little-endian.

    A WAV, its copy with other metadata and its FLAC give the same, decoded at one rate; a lossy
    copy or another level does not.
    """
    scaled = np.rint(waveform * np.float32(_FULL_SCALE))
    samples = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2")
    return hashlib.sha256(samples.tobytes()).hexdigest()
