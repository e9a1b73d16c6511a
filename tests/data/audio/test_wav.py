"""The WAV parser equals libsndfile on plain PCM and float, and rejects other files."""

import io
import struct

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earful.data.audio.wav import parse_wav, read_mono
from tests.fixtures.synthetic_audio import wav_header

NOISE = np.random.default_rng(1).uniform(-1, 1, (1001, 3))


def encode(samples: NDArray[np.floating], subtype: str, container: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, 8_000, format=container, subtype=subtype)
    return buffer.getvalue()


def data_position(blob: bytes) -> int:
    return blob.index(b"data") + 8


@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
@pytest.mark.parametrize("subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("channels", [1, 2, 3])
def test_samples_equal_libsndfile(container: str, subtype: str, channels: int) -> None:
    blob = encode(NOISE[:, :channels], subtype, container)
    wav = parse_wav(blob)
    assert wav is not None
    expected, rate_hz = soundfile.read(io.BytesIO(blob), dtype="float32", always_2d=True)
    assert (wav.sample_rate_hz, wav.channels, wav.frames) == (rate_hz, channels, len(expected))
    assert not wav.truncated
    mono = read_mono(wav)
    assert mono.dtype == np.float32
    np.testing.assert_allclose(mono, expected.mean(axis=1), rtol=0, atol=1e-7)


def test_chunks_before_the_samples_are_skipped() -> None:
    blob = encode(NOISE[:, 0], "PCM_16")
    extra = b"LIST" + struct.pack("<I", 5) + b"hello\0"  # odd chunks are padded to even
    widened = blob[:12] + extra + blob[12:]
    plain, wide = parse_wav(blob), parse_wav(widened)
    assert plain is not None
    assert wide is not None
    np.testing.assert_array_equal(read_mono(plain), read_mono(wide))


def test_chunks_after_the_samples_are_not_read_as_samples() -> None:
    blob = encode(NOISE[:, 0], "PCM_16") + b"LIST" + struct.pack("<I", 4) + b"\x7f\x7f\x7f\x7f"
    wav = parse_wav(blob)
    assert wav is not None
    assert wav.frames == len(NOISE)


@pytest.mark.parametrize("claim", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_streamed_wav_ends_where_the_file_ends(claim: int) -> None:
    blob = bytearray(encode(NOISE[:, 0], "PCM_16"))
    struct.pack_into("<I", blob, 4, claim)
    struct.pack_into("<I", blob, data_position(blob) - 4, claim)
    wav = parse_wav(bytes(blob))
    assert wav is not None
    assert (wav.streamed, wav.truncated, wav.frames) == (True, False, len(NOISE))


def test_empty_data_chunk_before_other_chunks_has_no_samples() -> None:
    blob = bytearray(encode(NOISE[:0, 0], "PCM_16") + b"LIST" + struct.pack("<I", 4) + b"abcd")
    struct.pack_into("<I", blob, 4, len(blob) - 8)
    wav = parse_wav(bytes(blob))
    assert wav is not None
    assert (wav.frames, wav.truncated) == (0, False)


def test_truncated_wav_is_flagged_and_a_partial_frame_is_dropped() -> None:
    blob = encode(NOISE[:, :2], "PCM_24")
    wav = parse_wav(blob[:-4])
    assert wav is not None
    assert wav.truncated
    assert len(read_mono(wav)) == wav.frames == len(NOISE) - 1


@pytest.mark.parametrize(
    "blob",
    [
        b"",
        b"RIFF",
        b"RIFF\0\0\0\0AVI fmt ",
        encode(NOISE[:, 0], "ULAW"),
        encode(NOISE[:, 0], "IMA_ADPCM"),
        encode(NOISE[:, 0], "PCM_16", "RF64"),
        encode(NOISE[:, 0], "PCM_16")[:40],
        encode(NOISE[:, 0], "PCM_16").replace(b"fmt ", b"tmf "),
    ],
    ids=["empty", "four", "avi", "ulaw", "adpcm", "rf64", "no-data", "no-format"],
)
def test_other_wav_is_not_parsed(blob: bytes) -> None:
    assert parse_wav(blob) is None


@pytest.mark.parametrize("n_bytes", [2_500_000_000, 4_000_000_000])
def test_sizes_of_gigabytes_are_not_streaming_placeholders(n_bytes: int) -> None:
    head = wav_header(n_bytes=0)[:40] + struct.pack("<I", n_bytes)
    whole, cut = parse_wav(head, 44 + n_bytes), parse_wav(head, 44 + n_bytes // 2)
    assert whole is not None
    assert cut is not None
    assert (whole.truncated, whole.frames, whole.start) == (False, n_bytes // 2, 44)
    assert cut.truncated
