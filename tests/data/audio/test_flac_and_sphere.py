"""FLAC without a length, as encoders write to a pipe, and NIST SPHERE, as TIMIT's files are."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from earful.data.audio.audio_length import read_duration_and_rate
from earful.data.audio.decode import AudioError, decode
from earful.data.audio.flac import has_unknown_length
from earful.data.audio.stream_reader import header_seconds, read_blocks
from tests.fixtures.synthetic_audio import noise

SOUND = noise(3.3, 0.2)


def encode(container: str, samples: np.ndarray = SOUND, subtype: str = "PCM_16") -> bytes:  # type: ignore[type-arg]
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 8_000, format=container, subtype=subtype)
    return buffer.getvalue()


def without_length(flac: bytes) -> bytes:
    """The FLAC as written to a pipe: the number of samples is 0."""
    return flac[:21] + bytes((flac[21] & 0xF0,)) + bytes(4) + flac[26:]


@pytest.mark.parametrize("n_samples", [16, 4_095, 4_096, 4_097, len(SOUND)])
@pytest.mark.parametrize("channels", [1, 2])
def test_flac_without_a_length_has_all_its_samples(
    n_samples: int, channels: int, tmp_path: Path
) -> None:
    flac = encode("FLAC", np.stack([SOUND[:n_samples]] * channels, axis=1))
    piped = without_length(flac)
    assert has_unknown_length(piped)
    assert not has_unknown_length(flac)
    expected = decode(flac, 8_000).waveform
    np.testing.assert_array_equal(decode(piped, 8_000).waveform, expected)
    path = tmp_path / "piped.flac"
    path.write_bytes(piped)
    np.testing.assert_array_equal(np.concatenate(list(read_blocks(path, 8_000))), expected)
    assert header_seconds(path) == n_samples / 8_000
    assert read_duration_and_rate(path) == (n_samples / 8_000, 8_000)


def test_cut_flac_without_a_length_is_truncated() -> None:
    piped = without_length(encode("FLAC"))
    for size in (len(piped) - 1, len(piped) - 300, len(piped) // 2):
        with pytest.raises(AudioError) as caught:
            decode(piped[:size], 8_000)
        assert caught.value.code == "truncated"


def test_flac_without_frames_is_empty() -> None:
    piped = without_length(encode("FLAC"))
    start = piped.index(b"\xff\xf8", 42)
    with pytest.raises(AudioError) as caught:
        decode(piped[:start], 8_000)
    assert caught.value.code == "empty_audio"


def test_flac_full_of_false_frames_is_refused() -> None:
    piped = without_length(encode("FLAC"))
    false_frame = piped[piped.index(b"\xff\xf8", 42) :][:16]
    with pytest.raises(AudioError) as caught:
        decode(piped + false_frame * 20_000, 8_000)
    assert caught.value.code == "truncated"


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("NIST", "PCM_16"), ("NIST", "ULAW"), ("VOC", "PCM_16"), ("IRCAM", "FLOAT")],
)
def test_older_containers_are_read_as_wav(container: str, subtype: str, tmp_path: Path) -> None:
    blob = encode(container, subtype=subtype)
    expected = decode(encode("WAV", subtype=subtype), 8_000).waveform
    np.testing.assert_array_equal(decode(blob, 8_000).waveform, expected)
    path = tmp_path / "SA1.WAV"
    path.write_bytes(blob)
    np.testing.assert_array_equal(np.concatenate(list(read_blocks(path, 8_000))), expected)


@pytest.mark.parametrize("container", ["NIST", "VOC"])
def test_cut_file_of_an_older_container_is_truncated(container: str) -> None:
    with pytest.raises(AudioError) as caught:
        decode(encode(container)[:-1_000], 8_000)
    assert caught.value.code == "truncated"


def test_shortened_sphere_says_how_to_read_it() -> None:
    plain = encode("NIST")
    coding = b"sample_coding -s3 pcm\n"
    assert coding in plain
    shortened = b"sample_coding -s26 pcm,embedded-shorten-v2.00\n"
    blob = plain.replace(coding, shortened, 1)
    with pytest.raises(AudioError, match=r"compressed with shorten.*sph2pipe") as caught:
        decode(blob, 8_000)
    assert caught.value.code == "unsupported_format"
