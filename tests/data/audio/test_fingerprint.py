"""Fingerprints identify the same audio in another container."""

from pathlib import Path

import numpy as np
import soundfile

from earful.data.audio.decode import decode
from earful.data.audio.fingerprint import audio_hash
from tests.fixtures.synthetic_audio import RATE_HZ, tone


def _hash(path: Path) -> str:
    return audio_hash(decode(path.read_bytes(), RATE_HZ).waveform)


def test_fingerprint_ignores_the_container_but_not_the_level(tmp_path: Path) -> None:
    sound = tone("low")
    soundfile.write(tmp_path / "a.wav", sound, RATE_HZ)
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="int16")
    soundfile.write(tmp_path / "copy.flac", samples, RATE_HZ)
    soundfile.write(tmp_path / "quieter.wav", 0.5 * sound, RATE_HZ)
    assert _hash(tmp_path / "copy.flac") == _hash(tmp_path / "a.wav")
    assert _hash(tmp_path / "quieter.wav") != _hash(tmp_path / "a.wav")


def test_one_extra_sample_changes_the_fingerprint() -> None:
    sound = tone("low").astype(np.float32)
    assert audio_hash(sound) != audio_hash(np.append(sound, np.float32(0)))
