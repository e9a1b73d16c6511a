"""Audio fingerprints: the same for a copy under another name or in another container."""

import hashlib

from earful.data.audio.decode import Waveform
from earful.data.audio.pcm import as_int16


def audio_hash(waveform: Waveform) -> str:
    """SHA-256 (hexadecimal) of a waveform (samples,) at 16 bits, little-endian.

    Decoded at one rate, a WAV, a copy with other metadata and its FLAC have the same hash; a lossy
    copy or another level does not.
    """
    return hashlib.sha256(as_int16(waveform).astype("<i2").tobytes()).hexdigest()
