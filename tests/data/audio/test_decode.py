"""Decoding: accepted formats, resampling, and refused input."""

import io
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earful.data.audio import decode as decode_module
from earful.data.audio.decode import (
    AudioError,
    AudioLimits,
    Decoded,
    decode,
    extract_segment,
    read_file,
    resample,
)

CODES = set(re.findall(r"^    ([a-z_]+)  ", decode_module.__doc__ or "", re.MULTILINE))
RATE_HZ = 8_000
TONE = 0.4 * np.sin(2 * np.pi * 440 * np.arange(RATE_HZ) / RATE_HZ)


def encode(
    samples: NDArray[np.floating],
    container: str,
    subtype: str | None = None,
    rate_hz: int = RATE_HZ,
) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, samples, rate_hz, format=container, subtype=subtype)
    return buffer.getvalue()


WAV = encode(TONE, "WAV", "PCM_16")
FLAC = encode(TONE, "FLAC")


def loudest_hz(waveform: NDArray[np.float32], rate_hz: int) -> float:
    spectrum = np.abs(np.fft.rfft(waveform * np.hanning(len(waveform))))
    return float(spectrum.argmax() * rate_hz / len(waveform))


def error_code_of(blob: bytes, limits: AudioLimits | None = None) -> str:
    with pytest.raises(AudioError) as error:
        decode(blob, RATE_HZ, limits or AudioLimits())
    assert error.value.code in CODES
    assert str(error.value)
    return error.value.code


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        *[("WAV", s) for s in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")],
        *[("WAVEX", s) for s in ("PCM_16", "PCM_24", "FLOAT")],
        *[("WAV", s) for s in ("ULAW", "IMA_ADPCM", "MS_ADPCM")],
        ("FLAC", "PCM_16"),
        ("FLAC", "PCM_24"),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", "MPEG_LAYER_III"),
        ("AIFF", "PCM_16"),
        ("AU", "PCM_16"),
        ("CAF", "PCM_16"),
        ("W64", "PCM_16"),
        ("RF64", "PCM_16"),
    ],
)
@pytest.mark.parametrize("channels", [1, 2])
def test_every_format_equals_libsndfile(container: str, subtype: str, channels: int) -> None:
    right = np.random.default_rng(0).uniform(-0.3, 0.3, RATE_HZ)
    blob = encode(np.stack([TONE, right][:channels], axis=1), container, subtype)
    expected, rate_hz = soundfile.read(io.BytesIO(blob), dtype="float32", always_2d=True)
    decoded = decode(blob, rate_hz)
    assert decoded.waveform.dtype == np.float32
    np.testing.assert_allclose(decoded.waveform, expected.mean(axis=1), rtol=0, atol=1e-7)


@pytest.mark.parametrize("rate_hz", [4_000, 8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 192_000])
@pytest.mark.parametrize("to_hz", [8_000, 16_000])
def test_resampling_keeps_length_and_pitch(rate_hz: int, to_hz: int) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(rate_hz) / rate_hz)
    decoded = decode(encode(tone, "WAV", "PCM_24", rate_hz), to_hz)
    assert (decoded.sample_rate_hz, decoded.source_rate_hz) == (to_hz, rate_hz)
    assert abs(decoded.seconds - 1) <= 1 / to_hz
    assert loudest_hz(decoded.waveform, to_hz) == pytest.approx(1000, abs=1)
    inner = decoded.waveform[to_hz // 10 : -to_hz // 10]
    assert np.sqrt(np.mean(inner**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


@pytest.mark.parametrize("n_samples", [1, 2, 7])
def test_resampling_a_few_samples_keeps_at_least_one(n_samples: int) -> None:
    assert len(resample(np.ones(n_samples, np.float32), 192_000, 4_000)) >= 1


def test_same_sample_rate_leaves_samples_unchanged() -> None:
    waveform = TONE.astype(np.float32)
    assert resample(waveform, 8_000, 8_000) is waveform


@pytest.mark.parametrize("claim", [0, 0xFFFFFFFF])
def test_streamed_wav_decodes_completely(claim: int) -> None:
    streamed = bytearray(WAV)
    struct.pack_into("<I", streamed, 4, claim)
    struct.pack_into("<I", streamed, WAV.index(b"data") + 4, claim)
    np.testing.assert_array_equal(
        decode(bytes(streamed), RATE_HZ).waveform, decode(WAV, RATE_HZ).waveform
    )


@pytest.mark.parametrize(
    "blob",
    [
        WAV,
        encode(TONE, "WAVEX", "PCM_24"),
        encode(TONE, "WAV", "IMA_ADPCM"),
        FLAC,
        encode(TONE, "AIFF"),
        encode(TONE, "AU"),
        encode(TONE, "W64"),
        encode(TONE, "RF64"),
    ],
    ids=["wav", "extensible", "adpcm", "flac", "aiff", "au", "w64", "rf64"],
)
@pytest.mark.parametrize("part", [0.3, 0.5, 0.99])
def test_file_cut_in_its_samples_is_truncated(blob: bytes, part: float) -> None:
    assert error_code_of(blob[: int(part * len(blob))]) == "truncated"


@pytest.mark.parametrize("n_bytes", range(61))
def test_file_cut_in_its_header_is_refused(n_bytes: int) -> None:
    for container in ("WAV", "WAVEX", "FLAC", "OGG", "AIFF", "W64"):
        code = error_code_of(encode(TONE[:100], container)[:n_bytes])
        assert code in {"empty_audio", "truncated", "unsupported_format"}, container


@pytest.mark.parametrize("container", ["WAV", "FLAC", "OGG", "AIFF"])
def test_file_without_samples_is_empty(container: str) -> None:
    assert error_code_of(encode(TONE[:0], container)) == "empty_audio"


@pytest.mark.parametrize("name", ["a.png", "text", "zeros", "avi"])
def test_non_audio_is_unsupported(name: str) -> None:
    png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(200)
    avi = b"RIFF\xd0\x00\x00\x00AVI LIST" + bytes(200)
    blobs = {"a.png": png, "text": b"filename,label\na,b\n" * 9, "zeros": bytes(999), "avi": avi}
    assert error_code_of(blobs[name]) == "unsupported_format"


@pytest.mark.parametrize("rate_hz", [1, 3_999, 192_001, 2**31 - 1])
@pytest.mark.parametrize("container", ["WAV", "AU"])
def test_sample_rate_outside_the_limits_is_refused(container: str, rate_hz: int) -> None:
    assert error_code_of(encode(TONE[:100], container, "PCM_16", rate_hz)) == "bad_sample_rate"


@pytest.mark.parametrize(("container", "channels"), [("WAV", 9), ("WAV", 1024), ("AU", 1024)])
def test_too_many_channels_are_refused(container: str, channels: int) -> None:
    assert error_code_of(encode(np.zeros((10, channels)), container)) == "too_many_channels"


@pytest.mark.parametrize("container", ["WAV", "AU"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("value", "code"),
    [
        (np.nan, "not_finite"),
        (np.inf, "not_finite"),
        (-np.inf, "not_finite"),
        (1e300, "not_finite"),
        (1e30, "out_of_range"),
        (-101.0, "out_of_range"),
    ],
)
def test_single_invalid_sample_is_refused(
    container: str, channels: int, value: float, code: str
) -> None:
    samples = np.zeros((1000, channels))
    samples[567] = value
    samples[568] = -value
    assert error_code_of(encode(samples, container, "DOUBLE")) == code


def test_channel_sum_beyond_float32_is_refused() -> None:
    assert error_code_of(encode(np.full((9, 2), 3e38), "WAV", "FLOAT")) == "not_finite"
    assert error_code_of(encode(np.array([[np.inf, -np.inf]]), "WAV", "FLOAT")) == "not_finite"


@pytest.mark.parametrize("blob", [WAV, FLAC, encode(TONE, "OGG"), encode(TONE, "MP3")])
def test_every_format_enforces_the_limits(blob: bytes) -> None:
    assert error_code_of(blob, AudioLimits(max_seconds=0.9)) == "too_long"
    assert error_code_of(blob, AudioLimits(max_bytes=len(blob) - 1)) == "too_large"
    sufficient_limits = AudioLimits(max_seconds=1.3, max_bytes=len(blob))
    assert decode(blob, RATE_HZ, sufficient_limits).seconds >= 1


@pytest.mark.parametrize("claimed_frames", [None, 0, 1])
def test_flac_bomb_is_not_decoded_beyond_the_limit(claimed_frames: int | None) -> None:
    """An hour of silence in 100 KB, whose header may declare a short or unknown length."""
    bomb = bytearray(encode(np.zeros(RATE_HZ * 3600, np.int16), "FLAC"))
    assert len(bomb) < 100_000
    if claimed_frames is not None:  # the last 36 bits before the checksum in STREAMINFO
        bomb[21] &= 0xF0
        bomb[22:26] = claimed_frames.to_bytes(4, "big")
    limits = AudioLimits(max_seconds=60)
    if claimed_frames == 1:
        assert len(decode(bytes(bomb), RATE_HZ, limits).waveform) == 1
    else:
        assert error_code_of(bytes(bomb), limits) == "too_long"


@pytest.mark.parametrize(
    ("container", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "DOUBLE"),
        ("WAVEX", "PCM_24"),
        ("WAV", "IMA_ADPCM"),
        ("FLAC", None),
        ("OGG", "VORBIS"),
        ("OGG", "OPUS"),
        ("MP3", None),
        ("AIFF", None),
        ("AU", None),
        ("CAF", None),
        ("W64", None),
        ("RF64", None),
    ],
)
def test_flipped_bytes_give_audio_or_an_audio_error(
    container: str, subtype: str | None, capfd: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(5)
    seed = np.frombuffer(encode(TONE[:800], container, subtype), np.uint8)
    limits = AudioLimits(max_seconds=30)
    for _ in range(500):
        mutant = seed.copy()
        reach = len(seed) if rng.random() < 0.5 else 120
        places = rng.integers(min(reach, len(seed)), size=rng.integers(1, 9))
        mutant[places] = rng.integers(256, size=len(places))
        try:
            decoded = decode(mutant.tobytes(), 16_000, limits)
        except AudioError as error:
            assert error.code in CODES  # noqa: PT017 - either outcome is correct
        else:
            assert 0 < decoded.seconds <= 30
            assert np.isfinite(decoded.waveform).all()
    assert "Traceback" not in capfd.readouterr().err


def test_segment_is_exact_to_the_sample() -> None:
    decoded = Decoded(np.arange(8000, dtype=np.float32), RATE_HZ, RATE_HZ)
    np.testing.assert_array_equal(extract_segment(decoded, 0.25, 0.5), np.arange(2000, 4000))
    assert extract_segment(decoded, None, None) is decoded.waveform
    assert len(extract_segment(decoded, 0.5, 1.009)) == 4000


@pytest.mark.parametrize(("start", "end"), [(0.5, 1.02), (2.0, 3.0), (0.5, 0.50001), (1.0, 1.005)])
def test_segment_outside_the_audio_is_refused(start: float, end: float) -> None:
    with pytest.raises(AudioError) as error:
        extract_segment(Decoded(np.zeros(8000, np.float32), RATE_HZ, RATE_HZ), start, end)
    assert error.value.code == "bad_segment"


def test_unreadable_path_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(WAV)
    (tmp_path / "loop").symlink_to("loop")
    os.mkfifo(tmp_path / "pipe.wav")
    names = {
        "missing.wav": "not_found",
        ".": "not_found",
        "pipe.wav": "not_found",
        "a.wav/b.wav": "not_found",
        "nul\0.wav": "not_found",
        "loop": "unreadable",
        "x" * 300: "unreadable",
        "a.wav": "too_large",
    }
    for name, code in names.items():
        with pytest.raises(AudioError) as error:
            read_file(tmp_path / name, AudioLimits(max_bytes=100))
        assert (name, error.value.code) == (name, code)
    assert read_file(tmp_path / "a.wav") == WAV
