"""The start of a recording from the names and headers that recorders write."""

import struct
from datetime import datetime
from pathlib import Path

import pytest

from earful.data.audio.start_time import recording_start, start_from_name
from tests.fixtures.synthetic_audio import noise, wav

START = datetime(2024, 5, 10, 5, 30, 0)


@pytest.mark.parametrize(
    "name",
    [
        "20240510_053000.WAV",
        "20240510_053000T.wav",
        "2024-05-10T05-30-00.flac",
        "2024-05-10T05:30:00Z.wav",
        "SMM01234_20240510_053000.wav",
        "SMU01234_20240510_053000_000.wav",
        "rec_2024-05-10_05.30.00.wav",
        "20240510053000.wav",
        "garden 2024-05-10 05-30.ogg",
        "20249999_999999_20240510_053000.wav",
    ],
)
def test_names_of_recorders_are_read(name: str) -> None:
    assert start_from_name(name) == START


@pytest.mark.parametrize(
    "name",
    ["a.wav", "20240510.wav", "20241310_053000.wav", "0_george_12.wav", "123456789012345678.wav"],
)
def test_other_names_say_nothing(name: str) -> None:
    assert start_from_name(name) is None
    assert recording_start(Path(name)) is None


def chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


BEXT = chunk(b"bext", bytes(256 + 64) + b"2024-05-1005:30:00" + bytes(264))
COMMENT = b"Recorded at 05:30:00 10/05/2024 (UTC) by AudioMoth 24F319055FDF"
AUDIOMOTH = chunk(b"LIST", b"INFO" + chunk(b"ICMT", COMMENT))


@pytest.mark.parametrize("extra", [BEXT, AUDIOMOTH, chunk(b"LIST", b"INFOa") + BEXT])
@pytest.mark.parametrize("after", [False, True])
def test_headers_of_recorders_are_read_before_and_after_the_sound(
    tmp_path: Path, extra: bytes, after: bool
) -> None:
    sound = wav(noise(0.1, 0.1))
    blob = sound + extra if after else sound[:12] + extra + sound[12:]
    (tmp_path / "a.wav").write_bytes(blob)
    assert recording_start(tmp_path / "a.wav") == START


@pytest.mark.parametrize(
    "blob", [b"", b"RIFF", wav(noise(0.1, 0.1)), wav(noise(0.1, 0.1))[:12] + BEXT[:200]]
)
def test_headers_without_a_date_say_nothing(tmp_path: Path, blob: bytes) -> None:
    (tmp_path / "a.wav").write_bytes(blob)
    assert recording_start(tmp_path / "a.wav") is None
