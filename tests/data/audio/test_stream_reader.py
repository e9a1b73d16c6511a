"""Streaming a recording equals decoding it whole, bit for bit."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from earful.data.audio import libsndfile, stream_reader
from earful.data.audio.decode import AudioError, AudioLimits, decode, extract_segment
from earful.data.audio.stream_reader import (
    LoudestWindow,
    header_seconds,
    loudest_window,
    read_blocks,
    read_segment,
    stream_windows,
)
from earful.data.audio.windows import loudest_start, window_starts
from tests.fixtures.synthetic_audio import noise, overlay_at, tone, wav

CLIP, RATE_HZ = 8_000, 8_000
SOUND = overlay_at(tone("mid"), 7.3, noise(11.07, 0.01))


def write(folder: Path, form: str, rate_hz: int, channels: int, subtype: str | None) -> Path:
    path = folder / f"a.{form.lower()}"
    sound = np.stack([SOUND, *[0.5 * SOUND] * (channels - 1)], axis=1)
    soundfile.write(path, sound, rate_hz, format=form, subtype=subtype)
    return path


@pytest.mark.parametrize(
    ("form", "subtype"),
    [
        ("WAV", "PCM_16"),
        ("WAV", "PCM_24"),
        ("WAV", "FLOAT"),
        ("WAV", "ULAW"),
        ("FLAC", None),
        ("OGG", None),
        ("MP3", None),
        ("AIFF", "PCM_16"),
    ],
)
@pytest.mark.parametrize(("rate_hz", "channels"), [(8_000, 1), (16_000, 2), (44_100, 1)])
def test_chunked_reading_equals_reading_whole(
    tmp_path: Path,
    form: str,
    subtype: str | None,
    rate_hz: int,
    channels: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stream_reader, "_BLOCK_BYTES", 4096)
    monkeypatch.setattr(libsndfile, "_BLOCK_SAMPLES", 4096)
    path = write(tmp_path, form, rate_hz, channels, subtype)
    whole = decode(path.read_bytes(), RATE_HZ).waveform
    blocks = list(read_blocks(path, RATE_HZ))
    assert len(blocks) > 3
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


@pytest.mark.parametrize("samples", [1, 100, CLIP - 1, CLIP, CLIP + 1, CLIP + 700, 5 * CLIP + 3])
@pytest.mark.parametrize("block", [1, 999, 8_000, 50_000])
@pytest.mark.parametrize("hop", [700, 2_000, 9_000])
def test_windows_do_not_depend_on_chunking(samples: int, block: int, hop: int) -> None:
    if block == 1 and samples > CLIP + 1:
        pytest.skip("slow, and covered by the shorter inputs")
    whole = np.arange(samples, dtype=np.float32)
    blocks = [whole[i : i + block] for i in range(0, samples, block)]
    windows = list(stream_windows(blocks, CLIP, hop))
    starts = window_starts(samples, CLIP, hop).tolist()
    assert [start for start, _ in windows] == starts
    for start, window in windows:
        np.testing.assert_array_equal(window, whole[start : start + CLIP])


@pytest.mark.parametrize("samples", [100, CLIP, CLIP + 1, len(SOUND)])
@pytest.mark.parametrize("block", [997, 8_000, 200_000])
def test_loudest_window_does_not_depend_on_chunking(samples: int, block: int) -> None:
    whole = SOUND[-samples:]
    start, window, total = loudest_window(
        lambda: iter([whole[i : i + block] for i in range(0, samples, block)]), CLIP
    )
    assert total == samples
    assert start == (loudest_start(whole, CLIP) if samples > CLIP else 0)
    np.testing.assert_array_equal(window, whole[start : start + CLIP])


def test_broken_recordings_give_the_same_error_codes_when_chunked(tmp_path: Path) -> None:
    good = wav(SOUND)
    nan = wav(np.full(9_000, np.nan), subtype="FLOAT")
    cases = {
        b"": "empty_audio",
        good[:44]: "truncated",
        good[:-100]: "truncated",
        nan: "not_finite",
        b"RIFF": "unsupported_format",
        b"\x89PNG" + bytes(100): "unsupported_format",
    }
    for blob, code in cases.items():
        (tmp_path / "a").write_bytes(blob)
        with pytest.raises(AudioError) as streamed:
            list(read_blocks(tmp_path / "a", RATE_HZ))
        with pytest.raises(AudioError) as whole:
            decode(blob, RATE_HZ)
        assert streamed.value.code == whole.value.code == code


@pytest.mark.parametrize("form", ["wav", "flac", "aiff"])
def test_the_audio_of_a_truncated_file_comes_before_the_error(tmp_path: Path, form: str) -> None:
    sound = np.tile(SOUND, 3)
    soundfile.write(tmp_path / f"a.{form}", sound, RATE_HZ, format=form.upper())
    blob = (tmp_path / f"a.{form}").read_bytes()
    (tmp_path / f"a.{form}").write_bytes(blob[: len(blob) * 3 // 4])
    blocks: list[NDArray[np.float32]] = []
    with pytest.raises(AudioError) as error:
        blocks.extend(read_blocks(tmp_path / f"a.{form}", RATE_HZ))
    assert error.value.code == "truncated"
    read = np.concatenate(blocks)
    assert len(read) > len(sound) / 3
    np.testing.assert_allclose(read, sound[: len(read)], atol=2e-4)


def test_file_truncated_while_it_is_read_is_an_error(
    tmp_path: Path, write_wav: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_reader, "_BLOCK_BYTES", 4096)
    path = write_wav("a.wav", SOUND)
    blocks = read_blocks(path, RATE_HZ)
    next(blocks)
    with path.open("r+b") as file:
        file.truncate(20_000)
    with pytest.raises(AudioError) as error:
        list(blocks)
    assert error.value.code == "truncated"
    with pytest.raises(AudioError) as gone:
        list(read_blocks(tmp_path / "none.wav", RATE_HZ))
    assert gone.value.code == "not_found"


def test_segment_equals_the_same_part_of_the_whole(write_wav: Callable[..., Path]) -> None:
    path = write_wav("a.wav", SOUND)
    whole = decode(path.read_bytes(), 16_000)

    def segment(start: float, end: float) -> NDArray[np.float32]:
        return read_segment(lambda: read_blocks(path, 16_000), 16_000, start, end)

    for start, end in ((0.0, 1.0), (3.25, 3.5), (10.0, 11.07), (11.0, 11.075)):
        np.testing.assert_array_equal(segment(start, end), extract_segment(whole, start, end))
    for start, end in ((10.0, 12.0), (20.0, 21.0)):
        with pytest.raises(AudioError, match="not entirely inside the audio"):
            segment(start, end)


def test_audio_too_short_to_resample_keeps_one_sample(write_wav: Callable[..., Path]) -> None:
    path = write_wav("a.wav", np.full(3, 0.5), rate_hz=192_000)
    whole = decode(path.read_bytes(), RATE_HZ).waveform
    np.testing.assert_array_equal(np.concatenate(list(read_blocks(path, RATE_HZ))), whole)
    assert len(whole) == 1


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3", "AIFF"])
def test_open_files_and_bytes_are_read_as_their_path(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, form, 44_100, 1, None)
    expected = np.concatenate(list(read_blocks(path, RATE_HZ)))
    with path.open("rb") as file:
        file.seek(100)
        for source in (file, io.BytesIO(path.read_bytes())):
            blocks = list(read_blocks(source, RATE_HZ))
            np.testing.assert_array_equal(np.concatenate(blocks), expected)
            assert header_seconds(source) == pytest.approx(len(SOUND) / 44_100)
            assert not source.closed


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG"])
def test_length_beyond_the_limit_is_told_from_the_header(tmp_path: Path, form: str) -> None:
    path, limits = write(tmp_path, form, 8_000, 1, None), AudioLimits(max_seconds=11)
    for read in (
        lambda: header_seconds(path, limits),
        lambda: next(read_blocks(path, 8_000, limits)),
    ):
        with pytest.raises(AudioError) as caught:
            read()
        assert caught.value.code == "too_long"


@pytest.mark.parametrize("clip", [640, 777, 8_000])
@pytest.mark.parametrize("kind", ["sounds", "silence", "rising"])
def test_loudest_window_in_one_pass_is_that_of_the_whole(clip: int, kind: str) -> None:
    sound = {
        "sounds": SOUND,
        "silence": np.zeros_like(SOUND),
        "rising": SOUND * np.linspace(0, 1, len(SOUND), dtype=np.float32) ** 4,
    }[kind]
    loudest = LoudestWindow(clip)
    for start in range(0, len(sound), 5_003):
        loudest.feed(sound[start : start + 5_003])
    passes = []

    def read_again() -> Iterator[np.ndarray]:
        passes.append(1)
        yield sound

    start, samples = loudest.finish(read_again)
    assert start == loudest_start(sound, clip)
    np.testing.assert_array_equal(samples, sound[start : start + clip])
    assert len(passes) == (kind == "silence")
