"""Audio fingerprints: the same for a copy under another name or in another container."""

import hashlib

import numpy as np

from earful.data.audio.decode import Waveform

_FULL_SCALE = 32768  # the scale of libsndfile for 16-bit samples


def audio_hash(waveform: Waveform) -> str:
    """SHA-256 (hexadecimal) of a waveform (samples,) at 16 bits, little-endian.

    Decoded at one rate, a WAV, a copy with other metadata and its FLAC have the same hash; a lossy
    copy or another level does not.
    """
    scaled = np.rint(waveform * np.float32(_FULL_SCALE))
    samples = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype("<i2")
    return hashlib.sha256(samples.tobytes()).hexdigest()
