"""The formats of phones and browsers decode like the WAV they were made of, or are refused."""

import io
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from earful.data.audio.audio_length import read_duration_and_rate
from earful.data.audio.containers import AUDIO_SUFFIXES, detect_container, is_accepted
from earful.data.audio.decode import AudioError, AudioLimits, decode
from earful.data.audio.media_formats import media_format
from earful.data.audio.stream_reader import header_seconds, read_blocks
from tests.fixtures.media_files import (
    MEDIA_KINDS,
    encode_channels,
    encode_media,
    encode_video,
    tone_at,
)

ALL_KINDS = pytest.mark.parametrize("name", MEDIA_KINDS)
# They say their length, so a part of one is told from the whole.
WITH_LENGTH = ["a.m4a", "alac.m4a", "a.mp4", "a.mov", "a.webm", "a.mkv", "a.3gp", "a.wma"]


@pytest.fixture(scope="module")
def media() -> dict[str, bytes]:
    """A tone of 1.5 s in every format."""
    return {name: encode_media(name, tone_at(kind.rate_hz)) for name, kind in MEDIA_KINDS.items()}


def error_of(blob: bytes, limits: AudioLimits | None = None) -> AudioError:
    with pytest.raises(AudioError) as caught:
        decode(blob, 16_000, limits or AudioLimits())
    return caught.value


def code_of(blob: bytes, limits: AudioLimits) -> str:
    """The code of the error, empty for audio, which is finite and within the limits."""
    try:
        waveform = decode(blob, 16_000, limits).waveform
    except AudioError as error:
        return error.code
    assert 0 < len(waveform) <= limits.max_seconds * 16_000 + 1
    assert np.isfinite(waveform).all()
    return ""


@ALL_KINDS
def test_tone_keeps_its_length_within_a_frame_and_its_frequency(
    media: dict[str, bytes], name: str
) -> None:
    decoded = decode(media[name], None)
    kind = MEDIA_KINDS[name]
    assert decoded.source_rate_hz == kind.rate_hz
    assert abs(len(decoded.waveform) - 1.5 * kind.rate_hz) <= kind.frame_samples
    spectrum = np.abs(np.fft.rfft(decoded.waveform * np.hanning(len(decoded.waveform))))
    assert spectrum.argmax() / decoded.seconds == pytest.approx(440, abs=1)
    middle = decoded.waveform[len(decoded.waveform) // 4 : -len(decoded.waveform) // 4]
    assert np.sqrt(2 * np.mean(middle**2)) == pytest.approx(0.5, rel=0.15)


@pytest.mark.parametrize("name", ["a.m4a", "a.mp4", "a.webm", "alac.m4a", "a.mov", "a.mkv"])
def test_encoder_delay_and_padding_are_cut(media: dict[str, bytes], name: str) -> None:
    expected = tone_at(MEDIA_KINDS[name].rate_hz)
    waveform = decode(media[name], None).waveform
    assert len(waveform) == len(expected)
    # The encoder fades in and out of what it has never heard.
    np.testing.assert_allclose(waveform[2_000:-2_000], expected[2_000:-2_000], atol=0.03)


@ALL_KINDS
def test_blocks_of_a_file_are_the_whole_of_it(
    media: dict[str, bytes], name: str, tmp_path: Path
) -> None:
    long = tone_at(MEDIA_KINDS[name].rate_hz, seconds=9)
    blob = encode_media(name, long)
    (tmp_path / name).write_bytes(blob)
    blocks = list(read_blocks(tmp_path / name, 16_000))
    assert len(blocks) > 1
    whole = decode(blob, 16_000).waveform
    np.testing.assert_allclose(np.concatenate(blocks), whole, atol=1e-5)
    np.testing.assert_array_equal(
        np.concatenate(list(read_blocks(io.BytesIO(blob), 16_000))), np.concatenate(blocks)
    )


@ALL_KINDS
def test_length_and_rate_are_those_of_the_samples(
    media: dict[str, bytes], name: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(media[name])
    seconds, rate_hz = read_duration_and_rate(tmp_path / name)
    kind = MEDIA_KINDS[name]
    assert rate_hz == kind.rate_hz
    assert seconds == pytest.approx(1.5, abs=1.01 * kind.frame_samples / rate_hz)
    # Raw AAC and AMR have no header that says it.
    assert (header_seconds(tmp_path / name) is None) == (name in ("a.amr", "a.aac"))


@ALL_KINDS
def test_format_is_told_by_content(media: dict[str, bytes], name: str) -> None:
    suffix = Path(name).suffix
    assert is_accepted(media[name][:32])
    assert detect_container(media[name]) == suffix[1:].upper()
    assert suffix in AUDIO_SUFFIXES


def test_old_mov_and_tagged_aac_are_recognised(media: dict[str, bytes]) -> None:
    ftyp_bytes = struct.unpack(">I", media["a.mov"][:4])[0]
    # Offsets of samples count from the start of the file.
    old = struct.pack(">I4s", ftyp_bytes, b"wide") + media["a.mov"][8:]
    tagged = b"ID3\x04\x00\x00\x00\x00\x00\x14" + bytes(20) + media["a.aac"]
    for blob, name in ((old, "a.mov"), (tagged, "a.aac")):
        np.testing.assert_array_equal(
            decode(blob, None).waveform, decode(media[name], None).waveform
        )


def test_video_gives_its_sound_or_says_that_it_has_none() -> None:
    assert decode(encode_video(with_sound=True), None).seconds == pytest.approx(1, abs=0.07)
    error = error_of(encode_video())
    assert (error.code, str(error)) == ("empty_audio", "MP4: a video without sound")


WITHOUT_PYAV = """
import sys
sys.modules["av"] = None
from pathlib import Path
from earful.data.audio.decode import AudioError, decode
for name in sys.argv[1:]:
    try: decode(Path(name).read_bytes(), None)
    except AudioError as error: print(error.code, error)
"""


def test_without_pyav_the_error_names_the_format_and_the_command(
    media: dict[str, bytes], tmp_path: Path
) -> None:
    paths = [tmp_path / name for name in media]
    for path in paths:
        path.write_bytes(media[path.name])
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_PYAV, *paths], check=False, capture_output=True, text=True
    )
    lines = result.stdout.splitlines()
    for path, line in zip(paths, lines, strict=True):
        form = media_format(media[path.name])
        assert form is not None
        assert line.startswith(f"unsupported_format {form.name}, which PyAV reads")
        assert "uv sync --inexact --extra media" in line
    assert result.stderr == ""


def test_pyav_is_loaded_only_for_what_needs_it() -> None:
    code = (
        "import io, sys, numpy, soundfile\n"
        "from earful.data.audio.decode import decode\n"
        "file = io.BytesIO(); soundfile.write(file, numpy.ones(800) / 2, 8000, format='FLAC')\n"
        "decode(file.getvalue(), 8000); print('av' in sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    assert result.stdout == "False\n"


@pytest.mark.parametrize("name", WITH_LENGTH)
def test_file_that_was_cut_off_is_truncated(media: dict[str, bytes], name: str) -> None:
    blob = media[name]
    for size in (len(blob) // 2, len(blob) * 9 // 10, len(blob) - 10):
        assert error_of(blob[:size]).code == "truncated"


@pytest.mark.parametrize("name", ["a.amr", "a.aac"])
def test_frames_before_a_cut_are_read_then_the_error(media: dict[str, bytes], name: str) -> None:
    cut = media[name][: len(media[name]) // 2 + 7]
    assert error_of(cut).code == "truncated"
    stream = read_blocks(io.BytesIO(cut), 16_000)
    n_samples = len(next(stream))
    with pytest.raises(AudioError, match="truncated"):
        n_samples += sum(map(len, stream))
    assert n_samples > 8_000


@ALL_KINDS
def test_damaged_files_decode_or_are_refused_with_a_code(
    media: dict[str, bytes], name: str, capfd: pytest.CaptureFixture[str]
) -> None:
    random = np.random.default_rng(len(name))
    limits = AudioLimits(max_bytes=1 << 20, max_seconds=60)
    n_refused = 0
    for _ in range(60):
        blob = bytearray(media[name])
        # Half of the damage is in the first bytes, where the structure is.
        ends = (len(blob), min(len(blob), 400))
        for position in [random.integers(ends[int(random.integers(2))]) for _ in range(8)]:
            blob[position] = random.integers(256)
        blob = blob[: random.integers(16, len(blob) + 1)]
        code = code_of(bytes(blob), limits)
        assert code in {
            *("", "unsupported_format", "empty_audio", "truncated", "too_long", "not_finite"),
            *("bad_sample_rate", "too_many_channels", "out_of_range"),
        }
        n_refused += code != ""
    assert n_refused
    assert capfd.readouterr() == ("", "")


@ALL_KINDS
def test_every_beginning_of_a_file_decodes_or_is_refused(
    media: dict[str, bytes], name: str
) -> None:
    for size in range(1, 200, 3):
        code = code_of(media[name][:size], AudioLimits())
        assert code in ("", "unsupported_format", "empty_audio", "truncated")


@ALL_KINDS
@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (AudioLimits(max_seconds=1), "too_long"),
        (AudioLimits(max_bytes=500), "too_large"),
        (AudioLimits(max_sample_rate_hz=7_000), "bad_sample_rate"),
        (AudioLimits(max_channels=0), "too_many_channels"),
    ],
)
def test_limits_hold(media: dict[str, bytes], name: str, limits: AudioLimits, code: str) -> None:
    assert error_of(media[name], limits).code == code


@pytest.mark.parametrize(
    ("muxer", "encoder", "channels"),
    [
        *(("ipod", "aac", channels) for channels in (1, 2, 6, 8)),
        *(("mov", "pcm_s16le", channels) for channels in (1, 2, 8)),
        ("matroska", "flac", 8),
    ],
)
def test_channels_of_a_recording_are_averaged(muxer: str, encoder: str, channels: int) -> None:
    mono = tone_at(48_000)
    left_alone = np.vstack([mono, np.zeros((channels - 1, len(mono)))])
    waveform = decode(encode_channels(muxer, encoder, 48_000, left_alone), None).waveform
    np.testing.assert_allclose(waveform[4_000:70_000], mono[4_000:70_000] / channels, atol=0.02)


@pytest.mark.parametrize("name", ["a.m4a", "a.webm", "a.amr", "a.wma"])
def test_tag_before_a_recording_is_said(media: dict[str, bytes], name: str, tmp_path: Path) -> None:
    blob = b"ID3\x04\x00\x00\x00\x00\x00\x14" + bytes(20) + media[name]
    assert "behind an ID3 tag; remove the tag" in str(error_of(blob))
    (tmp_path / name).write_bytes(blob)
    with pytest.raises(AudioError, match="behind an ID3 tag"):
        list(read_blocks(tmp_path / name, 16_000))


def test_negative_length_of_a_header_is_none(media: dict[str, bytes], tmp_path: Path) -> None:
    at = media["a.mkv"].index(b"\x44\x89\x88") + 3
    blob = media["a.mkv"][:at] + struct.pack(">d", -5_000.0) + media["a.mkv"][at + 8 :]
    (tmp_path / "a.mkv").write_bytes(blob)
    assert header_seconds(tmp_path / "a.mkv") is None
    assert read_duration_and_rate(tmp_path / "a.mkv") == (1.5, 16_000)


def test_length_beyond_the_header_is_counted_while_decoding(media: dict[str, bytes]) -> None:
    duration = b"\x44\x89\x88"  # of Matroska, with its length of eight bytes
    at = media["a.mkv"].index(duration) + len(duration)
    short = media["a.mkv"][:at] + struct.pack(">d", 100.0) + media["a.mkv"][at + 8 :]
    assert header_seconds(io.BytesIO(short)) == pytest.approx(0.1)
    assert code_of(short, AudioLimits(max_seconds=1)) == "too_long"


def with_reference(mov: bytes, target: str) -> bytes:
    """A MOV of which the samples are in the file ``target``, by an alias record."""
    path = target.encode() + b"\0" * (len(target) % 2)
    alias = bytes(150) + struct.pack(">HH", 2, len(path)) + path + struct.pack(">Hxx", 0xFFFF)
    entry = struct.pack(">I4sI", 12 + len(alias), b"alis", 0) + alias
    start = mov.index(b"dref") + 12
    added = len(entry) - 12
    blob = bytearray(mov[:start] + entry + mov[start + 12 :])
    for box in (b"dref", b"dinf", b"minf", b"mdia", b"trak", b"moov"):
        at = blob.rindex(box, 0, start) - 4
        struct.pack_into(">I", blob, at, struct.unpack_from(">I", blob, at)[0] + added)
    return bytes(blob)


def test_mov_that_refers_to_another_file_is_refused(
    media: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "secret.mov").write_bytes(media["a.mov"])
    for target in (str(tmp_path / "secret.mov"), "secret.mov", "http://127.0.0.1:9/a.mov"):
        error = error_of(with_reference(media["a.mov"], target))
        assert error.code == "empty_audio"
        assert "another file" in str(error)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n", "a playlist"),
        (b"ffconcat version 1.0\nfile '/etc/passwd'\n", "a list of files"),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1\n", "not audio"),
        (b'<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"/>', "a web page or XML"),
        (b"\xef\xbb\xbf#EXTM3U\nfile:///etc/passwd\n", "a playlist"),
    ],
)
def test_what_names_other_files_is_no_audio(text: bytes, says: str) -> None:
    error = error_of(text)
    assert error.code == "unsupported_format"
    assert str(error).startswith(says)
