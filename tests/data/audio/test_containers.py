"""Containers are detected by content; the header declares the file length."""

import io
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earful.data.audio.audio_length import read_duration_and_rate
from earful.data.audio.containers import declared_bytes, is_accepted, strip_id3_tag
from earful.data.audio.decode import AudioError, decode
from earful.data.audio.stream_reader import header_seconds
from tests.fixtures.synthetic_audio import wav


def encode(container: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-1, 1, 1000)
    soundfile.write(buffer, noise, 8_000, format=container)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "container",
    [
        *("WAV", "WAVEX", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "W64", "RF64"),
        *("NIST", "VOC", "IRCAM"),
    ],
)
def test_accepted_containers_are_recognised_and_never_overstate_their_length(
    container: str,
) -> None:
    blob = encode(container)
    assert is_accepted(blob)
    assert declared_bytes(blob) <= len(blob)


@pytest.mark.parametrize("container", ["PAF", "SVX", "AVR"])
def test_rare_containers_are_not_accepted(container: str) -> None:
    # SVX is an IFF file, as AIFF is; libsndfile distinguishes them.
    assert is_accepted(encode(container)) == (container == "SVX")


@pytest.mark.parametrize(
    "blob", [b"", b"RIF", b"\x89PNG", b"ID3\x09", b"\xff\xfb", b"\xff\xff\xff\xff", b"\xff\xfbx"]
)
def test_other_bytes_are_not_accepted(blob: bytes) -> None:
    assert not is_accepted(blob)


@pytest.mark.parametrize(
    ("container", "position", "layout"),
    [("WAV", 4, "<I"), ("AIFF", 4, ">I"), ("AU", 8, ">I"), ("W64", 16, "<Q"), ("RF64", 20, "<Q")],
)
def test_header_declares_the_file_length_unless_streamed(
    container: str, position: int, layout: str
) -> None:
    blob = bytearray(encode(container))
    assert len(blob) - 8 <= declared_bytes(bytes(blob)) <= len(blob)
    struct.pack_into(layout, blob, position, 5_000_000)
    assert declared_bytes(bytes(blob)) >= 5_000_000
    struct.pack_into(layout, blob, position, 0xFFFFFFFF)
    assert declared_bytes(bytes(blob)) == 0


def test_id3_tag_before_a_wav_drops_no_sample() -> None:
    good = wav(np.linspace(-0.5, 0.5, 900))
    tag = b"ID3\x04\x00\x00\x00\x00\x01\x02" + bytes(130)
    assert strip_id3_tag(tag + good) == good
    np.testing.assert_array_equal(decode(tag + good, 8_000).waveform, decode(good, 8_000).waveform)
    for other in (tag + b"\xff\xfb\x90\x00" * 20, b"ID3", tag[:12], good):
        assert strip_id3_tag(other) == other


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"RIFF\x64\x00\x00\x00AVI LIST", "AVI video"),
        (b"RIFF\x64\x00\x00\x00QLCMfmt ", "QCP"),
        (b"G@\x11\x10\x00", "an MPEG transport stream"),
        (b"\x00\x00\x01\xba\x21", "MPEG video"),
        (b"\xff\xfd\xe0\xc4", "MPEG layer II"),
        (b"\x02dss", "DSS of a dictation machine"),
        (b"#!AMR_MC1.0\n", "AMR of several channels"),
        (b"  <!doctype html>", "a web page or XML"),
        (b"GIF89a", "a picture"),
        (b"hello", "not audio"),
    ],
)
def test_a_refusal_names_what_the_file_is(head: bytes, name: str) -> None:
    with pytest.raises(AudioError) as caught:
        decode(head + bytes(100), 8_000)
    assert str(caught.value).startswith(f"{name}; accepted are WAV, FLAC")


def test_damaged_audio_is_named_and_told_what_to_do() -> None:
    caf = encode("CAF")
    with pytest.raises(
        AudioError, match=r"^CAF that does not decode: .*; convert it to 16-bit WAV"
    ):
        decode(caf.replace(b"lpcm", b"ulaw", 1)[:28] + b"alac" + caf[32:], 8_000)


@pytest.mark.parametrize("read", [read_duration_and_rate, header_seconds])
def test_empty_file_is_said_to_be_empty(read: Callable[[Path], object], tmp_path: Path) -> None:
    (tmp_path / "a.m4a").touch()
    with pytest.raises(AudioError, match="the file is empty"):
        read(tmp_path / "a.m4a")
